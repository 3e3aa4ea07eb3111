/** Pools on the lab's kernel NFS server: the port's promises, and what only a server does: root squash, silence, a mount that outlives us. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { readMounts } from '@kvasir/linux'
import { eventually } from '../../e2e/machine/eventually.ts'
import { patient } from '../../e2e/machine/patience.ts'
import { openWorld } from '../../e2e/machine/world.ts'
import { openTestJail, type TestJail } from '../../packages/daemon/src/host/jail/testing/test-jail.ts'
import { createNfsPool } from '../../packages/daemon/src/host/pools/nfs-pool.ts'
import { testPools } from '../../packages/daemon/src/ports/pools.suite.ts'
import { needs } from '../../tools/require.ts'
import { newExport, served } from '../testing/nfs-export.ts'
import { sh } from '../testing/shell.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const shared: { jail?: TestJail } = {}

before(async () => {
  if (skip === false) shared.jail = await openTestJail()
})

after(() => shared.jail?.[Symbol.asyncDispose]())

async function openPool(t: TestContext, path: string) {
  const { jail } = shared
  assert.ok(jail)
  const parent = await mkdtemp(join(tmpdir(), 'kvasir-nfs-'))
  const folder = join(parent, 'mount')
  const id = randomUUID()
  const source = { type: 'nfs', server: '127.0.0.1', export: `/${path}`, direct: false } as const
  const pool = createNfsPool({
    id,
    source,
    folder,
    jailed: jail.jailed,
    onUnreachable: () => {},
    deadlineMs: patient(15_000),
  })
  t.after(async () => {
    await pool.rest?.()
    assert.equal(await isMounted(folder), false)
    await rm(parent, { recursive: true, force: true })
  })
  return { pool, folder }
}

async function isMounted(folder: string): Promise<boolean> {
  return (await readMounts('self')).some(({ mountPoint }) => mountPoint === folder)
}

testPools({
  name: 'an export',
  skip,
  async open(t) {
    const path = await newExport(t)
    const [{ pool }, { pool: rival }] = [await openPool(t, path), await openPool(t, path)]
    const addForeign = async () => {
      await writeFile(join(served, path, 'others.img'), Buffer.alloc(4096))
      return 'others.img'
    }
    return { pool, rival, addForeign }
  },
})

test('an export is mounted without programs, devices and set-UID bits, and hard, whatever its name says', {
  skip,
}, async (t) => {
  const { pool, folder } = await openPool(t, await newExport(t, ' -o exec,soft,[::1]:$(reboot);'))
  await pool.claim({ force: false })

  const mount = (await readMounts('self')).find(({ mountPoint }) => mountPoint === folder)
  for (const option of ['nosuid', 'nodev', 'noexec']) assert.ok(mount?.options.includes(option), option)
  assert.ok(mount?.superOptions.includes('hard'))
})

test('an export that was made anew on its server is mounted anew', { skip }, async (t) => {
  const path = await newExport(t)
  const { pool } = await openPool(t, path)
  await pool.claim({ force: false })
  await pool.inspect()
  const folder = join(served, path)
  await sh(`mv ${folder} ${folder}.old && cp -a ${folder}.old ${folder} && rm -r ${folder}.old`)
  const key = { id: randomUUID(), format: 'raw' } as const

  await pool.inspect()
  await pool.createEmpty(key, { capacityBytes: mib })

  assert.ok((await readdir(folder)).includes(`${key.id}.raw`))
})

test('the mark goes with a pool that was stopped before', { skip }, async (t) => {
  const path = await newExport(t)
  const { pool, folder } = await openPool(t, path)
  await pool.claim({ force: false })
  await pool.rest?.()
  assert.equal(await isMounted(folder), false)

  await pool.release()

  assert.deepEqual(await readdir(join(served, path)), [])
  assert.equal(await isMounted(folder), false)
})

test('an export that makes nobody of root is refused, with what to change', { skip }, async (t) => {
  const path = await newExport(t)
  const folder = join(served, path)
  await sh(`mount -t tmpfs none ${folder} && chmod 755 ${folder}`)
  await sh(`exportfs -o rw,root_squash,fsid=77,insecure,no_subtree_check 127.0.0.1:${folder}`)
  const { pool } = await openPool(t, path)

  await assert.rejects(pool.claim({ force: false }), (error) => {
    return (
      error instanceof KvasirError && error.code === 'pool-refused' && /no_root_squash/.test(error.message)
    )
  })
})

test('an export that there is not is refused, and nothing stays mounted', { skip }, async (t) => {
  const { pool, folder } = await openPool(t, 'nothing-of-that-name')

  await assert.rejects(pool.claim({ force: false }), (error) => {
    return (
      error instanceof KvasirError && error.code === 'pool-refused' && /cannot be mounted/.test(error.message)
    )
  })
  assert.equal(await isMounted(folder), false)
})

test('a VM on an export outlives a silent server, its daemon’s death, and leaves no mount', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const path = await newExport(t)
  await world.cli(
    'pool',
    'create',
    'shared',
    '--type',
    'nfs',
    '--server',
    '127.0.0.1',
    '--export',
    `/${path}`,
  )
  const params = { pool: 'shared' }
  const body = { name: 'data', size: 64 * mib, format: 'qcow2' as const }
  await world.client.call(endpoints.createVolume, { params, body })
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', ...params, volume: 'data' }] })
  await vm.shell('echo before >/dev/vda; sync')
  const { pid } = (await vm.show()).status
  const user = await sh(`awk '/^Uid:/ { print $2 }' /proc/${pid}/status`)
  assert.equal(await sh(`stat -c %u ${join(served, path)}/*.qcow2`), user, 'the volume is its QEMU’s')
  const mounts = async () =>
    (await readMounts('self')).filter(({ fileSystem }) => fileSystem === 'nfs4').length
  const mounted = await mounts()

  await sh('nft add table inet silence')
  t.after(() => sh('nft delete table inet silence || true'))
  await sh("nft add chain inet silence in '{ type filter hook input priority 0; }'")
  await sh('nft add rule inet silence in tcp dport 2049 drop')
  const pool = await world.client.call(endpoints.startPool, { params })
  assert.equal(pool.state, 'unreachable')
  assert.ok((await vm.show()).status.poolTrouble?.[0]?.reason)
  await world.client.call(endpoints.createVolume, { params: { pool: 'default' }, body })
  await sh('nft delete table inet silence')
  const answers = async () => (await world.client.call(endpoints.startPool, { params })).state === 'active'
  await eventually(answers, { withinMs: 120_000, what: 'the pool answers again' })
  await vm.shell('echo after! >/dev/vda; sync')

  await world.daemon.kill9()
  await world.startDaemon()
  await eventually(answers, { withinMs: 60_000, what: 'the next daemon has the mount that is there' })
  assert.equal(await mounts(), mounted)
  assert.equal(await vm.shell('head -c 6 /dev/vda'), 'after!')

  await vm.powerOff()
  await vm.delete({ disks: true })
  await world.client.call(endpoints.stopPool, { params })
  assert.equal(await mounts(), mounted - 1)
  await world.client.call(endpoints.startPool, { params })
  await world.client.call(endpoints.deletePool, { params, query: { data: 'remove' } })
  assert.equal(await mounts(), mounted - 1)
  assert.deepEqual(await readdir(join(served, path)), [])
})
