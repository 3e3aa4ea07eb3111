/** A disk on RBD, on a real Ceph beside the test: what its guest writes, what kills the daemon, what hangs, and where the key is not. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { endpoints, type Job, type Vm } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { needs } from '../../tools/require.ts'
import { type CephCluster, startCeph } from '../../tools/servers/ceph-cluster.ts'
import { assertEmpty, openCephPool } from '../machine/ceph-pool.ts'
import { eventually } from '../machine/eventually.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'ceph')
const mib = 2 ** 20
const jobMs = 300_000
const byPool = { params: { pool: 'ceph1' } }

let ceph: CephCluster
if (skip === false) {
  before(async () => {
    ceph = await startCeph()
  })
  after(() => ceph[Symbol.asyncDispose]())
}

function createVolume(world: World, name: string) {
  const body = { name, size: 64 * mib, format: 'raw' } as const
  return world.client.call(endpoints.createVolume, { ...byPool, body })
}

async function done(world: World, job: Job): Promise<Job> {
  return await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

async function applied(world: World, { status }: Vm): Promise<void> {
  assert.ok(status.job, 'a job was begun')
  const job = await done(world, await world.client.call(endpoints.getJob, { params: { id: status.job } }))
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
}

test('a guest’s disk is an RBD image: it grows, outlives the daemon, hangs with its cluster and goes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await openCephPool(world, ceph, 'hangs')
  for (const name of ['data', 'more']) await createVolume(world, name)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'ceph1', volume: 'data' }] })
  const sectors = () => vm.shell('cat /sys/block/vda/size')
  await vm.shell('echo kept in ceph >/dev/vda; sync')

  const body = { size: 96 * mib }
  await world.client.call(endpoints.resizeVolume, { params: { pool: 'ceph1', volume: 'data' }, body })
  await eventually(async () => ((await sectors()) === String((96 * mib) / 512) ? true : undefined), {
    withinMs: 30_000,
    what: 'the guest sees its disk grow',
  })
  assert.equal((await ceph.tool('rbd', 'ls', '-l', 'rbd/hangs')).includes('96 MiB'), true)

  const { spec } = await vm.show()
  const more = { name: 'more', pool: 'ceph1', volume: 'more' }
  await applied(world, await vm.apply({ ...spec, disks: [...spec.disks, more] }))
  await vm.shell('echo plugged >/dev/vdb; sync')
  assert.deepEqual(leaks(world, await vm.pid()), [])

  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal(await vm.shell('head -c 12 /dev/vda'), 'kept in ceph')
  await applied(world, await vm.apply(spec))
  await vm.shell('echo still in ceph >/dev/vda; sync')

  ceph.stop('osd')
  try {
    await eventually(async () => ((await poolState(world)) === 'unreachable' ? true : undefined), {
      withinMs: 60_000,
      what: 'the pool is unreachable',
    })
    const startedMs = performance.now()
    const { status } = await vm.show()
    assert.ok(performance.now() - startedMs < 3_000, 'Others are answered.')
    assert.deepEqual([status.state, status.poolTrouble?.[0]?.pool], ['running', 'ceph1'])
    await assert.rejects(createVolume(world, 'none'), { code: 'pool-unreachable' })
  } finally {
    ceph.goOn('osd')
  }
  await eventually(async () => ((await poolState(world)) === 'active' ? true : undefined), {
    withinMs: 60_000,
    what: 'the pool answers again',
  })
  assert.equal(await vm.shell('head -c 13 /dev/vda'), 'still in ceph')

  await vm.powerOff()
  await vm.delete({ disks: true })
  await world.client.call(endpoints.deleteVolume, { params: { pool: 'ceph1', volume: 'more' } })
  await assert.rejects(
    world.client.call(endpoints.deleteSecret, { params: { secret: 'ceph-key' } }),
    /pool ceph1/,
  )
  await world.client.call(endpoints.deletePool, { ...byPool, query: { data: 'remove' } })
  await world.client.call(endpoints.deleteSecret, { params: { secret: 'ceph-key' } })
  assert.equal((await ceph.tool('rbd', 'ls', 'rbd/hangs')).trim(), '')
})

/** A refresh looks at the beginning of images of others, and says what is in them. */
async function lookIntoOthers(world: World): Promise<void> {
  const file = join(world.place.base, 'theirs')
  const beginnings = { 'theirs-packed': 'QFI\xfb', 'theirs-raw': 'contents' }
  for (const [name, bytes] of Object.entries(beginnings)) {
    writeFileSync(file, Buffer.concat([Buffer.from(bytes, 'latin1'), Buffer.alloc(2 ** 20 - bytes.length)]))
    await ceph.tool('rbd', 'import', '--no-progress', file, `rbd/copied/${name}`)
  }
  const { findings = [] } = await world.client.call(endpoints.refreshPool, byPool)
  assert.deepEqual(
    findings.map((found) => [
      found.file,
      found.detail.includes('a qcow2 image'),
      found.detail.includes('imported as raw.'),
    ]),
    [
      ['theirs-packed', true, false],
      ['theirs-raw', false, true],
    ],
  )
  for (const name of Object.keys(beginnings))
    await ceph.tool('rbd', 'rm', '--no-progress', `rbd/copied/${name}`)
}

async function poolState(world: World): Promise<string> {
  return (await world.client.call(endpoints.getPool, byPool)).state
}

/** Where the key can be read besides in its own file and in those that only root's tools get. */
function leaks(world: World, pid: number): readonly string[] {
  const { stateDir, runtimeDir, logDir } = world.place
  const argv = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  const own = [join(stateDir, 'secrets'), join(runtimeDir, 'ceph')]
  const folders = [stateDir, logDir, join(runtimeDir, 'vms')]
  const found = spawnSync('grep', ['-rlF', '--devices=skip', '--', ceph.key, ...folders], {
    encoding: 'utf8',
  })
  return [
    ...(argv.includes(ceph.key) ? ['the arguments of QEMU'] : []),
    ...found.stdout
      .split('\n')
      .filter((path) => path !== '' && !own.some((folder) => path.startsWith(folder))),
  ]
}

test('an RBD volume is cloned at once, copied to other pools, and each holds what it held', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await openCephPool(world, ceph, 'copied')
  await lookIntoOthers(world)
  await createVolume(world, 'origin')
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'ceph1', volume: 'origin' }] })
  await vm.shell('echo first >/dev/vda; sync')
  await vm.powerOff()
  const params = { pool: 'ceph1', volume: 'origin' }
  const clone = async (body: { name: string; mode: 'linked' | 'full'; pool?: string; format?: 'qcow2' }) =>
    done(world, await world.client.call(endpoints.cloneVolume, { params, body }))

  const cloneOf = async (volume: string, name: string) =>
    done(
      world,
      await world.client.call(endpoints.cloneVolume, {
        params: { pool: 'ceph1', volume },
        body: { name, mode: 'linked' },
      }),
    )
  await clone({ name: 'linked', mode: 'linked' })
  await clone({ name: 'copy', mode: 'full', pool: 'default', format: 'qcow2' })
  await vm.start()
  await vm.waitForLogin(2)
  await vm.shell('echo later >/dev/vda; sync')
  await vm.powerOff()
  await vm.delete({ disks: true })

  const disks = [
    { name: 'one', pool: 'ceph1', volume: 'linked' },
    { name: 'two', pool: 'default', volume: 'copy' },
  ]
  const other = await world.bootTiny('web2', { disks })
  for (const device of ['vda', 'vdb']) assert.equal(await other.shell(`head -c 5 /dev/${device}`), 'first')
  const children = () => ceph.tool('rbd', 'trash', 'ls', 'rbd/copied')
  assert.notEqual((await children()).trim(), '', 'What the clone reads is kept.')
  const flat = await world.cli('volume', 'flatten', 'ceph1/linked')
  assert.equal(flat.code, 0, flat.stderr)
  assert.equal((await children()).trim(), '')
  assert.equal(await other.shell('echo 3 >/proc/sys/vm/drop_caches; head -c 5 /dev/vda'), 'first')
  await other.powerOff()
  await cloneOf('linked', 'second')
  const refused = await world.cli('volume', 'delete', 'ceph1/linked')
  assert.match(refused.stderr, /in use/)
  await other.delete({ disks: false })
  const named = await world.cli('volume', 'delete', 'ceph1/linked')
  assert.match(named.stderr, /ceph1\/second/)
  assert.equal((await world.cli('volume', 'flatten', 'ceph1/second')).code, 0)
  assert.equal((await world.cli('volume', 'delete', 'ceph1/linked')).code, 0)
  await world.client.call(endpoints.deletePool, { ...byPool, query: { data: 'remove' } })
  await assertEmpty(ceph, 'copied')
})

test('what Ceph does not let a VM have is told in words when it starts: a lock of others, a user who may only read', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await openCephPool(world, ceph, 'refused')
  await createVolume(world, 'data')
  const vm = await world.createTiny('web1', { disks: [{ name: 'data', pool: 'ceph1', volume: 'data' }] })
  const image = (await ceph.tool('rbd', 'ls', 'rbd/refused')).trim()
  const start = async () => (await world.cli('vm', 'start', 'web1')).stderr
  const { user } = ceph
  const caps = (osd: string) =>
    ceph.tool(
      'ceph',
      'auth',
      'caps',
      `client.${user}`,
      'mon',
      'profile rbd',
      'mgr',
      'profile rbd',
      'osd',
      osd,
    )

  await ceph.tool('rbd', 'lock', 'add', `rbd/refused/${image}`, 'held by hand')
  const report = await ceph.tool('rbd', 'lock', 'ls', `rbd/refused/${image}`, '--format', 'json')
  const [{ id, locker }]: [{ id: string; locker: string }] = JSON.parse(report)
  assert.match(await start(), new RegExp(`is locked by ${locker} at .*lock held by hand.*in-use`))
  await ceph.tool('rbd', 'lock', 'rm', `rbd/refused/${image}`, id, locker)
  await caps('profile rbd-read-only pool=rbd')
  try {
    assert.match(
      await start(),
      new RegExp(`does not let user ${user} write RBD image ${image}, which disk data`),
    )
  } finally {
    await caps('profile rbd pool=rbd')
  }
  assert.match(await start(), /VM web1 runs/)
  await vm.waitForLogin()
  await vm.shell('echo written >/dev/vda; sync')

  await vm.powerOff()
  await vm.delete({ disks: true })
  await world.client.call(endpoints.deletePool, { ...byPool, query: { data: 'remove' } })
})
