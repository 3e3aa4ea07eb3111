/** Pools that are folders: a VM on one, one that hangs under a VM, and what is done to volumes with a guest that writes. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { lacking, needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt')
const skipHung =
  skip ||
  (existsSync('/usr/bin/bindfs')
    ? false
    : lacking('oracle', 'there is no bindfs, whose file system could hang'))
const mib = 2 ** 20
const signal = AbortSignal.timeout(300_000)

function createPool(world: World, name: string, path = join(world.place.base, name)) {
  return world.client.call(endpoints.createPool, { body: { type: 'dir', name, path } })
}

function createVolume(world: World, pool: string, name: string, format: 'raw' | 'qcow2' = 'qcow2') {
  const body = { name, size: 64 * mib, format }
  return world.client.call(endpoints.createVolume, { params: { pool }, body })
}

function capacity(world: World, pool: string, volume: string, size: number, shrink = false) {
  return world.client.call(endpoints.resizeVolume, { params: { pool, volume }, body: { size, shrink } })
}

function hasCode(code: KvasirError['code']) {
  return (error: unknown) => error instanceof KvasirError && error.code === code
}

test('a guest’s disk lies in another pool, grows under it, and moves to another format and back', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await createPool(world, 'fast')
  await createVolume(world, 'fast', 'data', 'raw')
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'fast', volume: 'data' }] })
  const sectors = () => vm.shell('cat /sys/block/vda/size')
  assert.equal(await sectors(), String((64 * mib) / 512))
  await vm.shell('echo kept in the pool >/dev/vda; sync')

  await capacity(world, 'fast', 'data', 96 * mib)

  await eventually(async () => (await sectors()) === String((96 * mib) / 512), {
    withinMs: 10_000,
    what: 'the guest sees its disk grow',
  })
  await assert.rejects(capacity(world, 'fast', 'data', 32 * mib, true), hasCode('in-use'))
  await assert.rejects(world.client.call(endpoints.stopPool, { params: { pool: 'fast' } }), hasCode('in-use'))
  await vm.powerOff()
  const converted = async (pool: string, body: { pool?: string; format?: 'raw' | 'qcow2' }) => {
    const params = { pool, volume: 'data' }
    await waitForJob(world.client, await world.client.call(endpoints.convertVolume, { params, body }), {
      signal,
    })
  }
  await converted('fast', { pool: 'default', format: 'qcow2' })
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('head -c 16 /dev/vda'), 'kept in the pool')
  assert.equal((await vm.show()).spec.disks[0]?.pool, 'default')
  assert.deepEqual(
    readdirSync(join(world.place.base, 'fast')).filter((name) => !name.startsWith('.')),
    [],
  )
})

test('a disk in another pool comes and goes under a running guest, and snapshots of it are taken there', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await createPool(world, 'fast')
  await createVolume(world, 'fast', 'data')
  const vm = await world.bootTiny('web1')
  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: [{ name: 'data', pool: 'fast', volume: 'data' }] })
  await eventually(async () => (await vm.shell('ls /sys/block')).includes('vda'), {
    withinMs: 20_000,
    what: 'the guest sees the disk',
  })
  await vm.shell('echo before >/dev/vda; sync')

  const params = { name: 'web1' }
  const job = await world.client.call(endpoints.createSnapshot, { params, body: { name: 'one' } })
  await waitForJob(world.client, job, { signal })
  const taken = await world.client.call(endpoints.getSnapshot, { params: { ...params, snapshot: 'one' } })
  assert.ok(Number(taken.disks[0]?.allocatedBytes) > 0, 'What it holds is asked of the pool that it lies in.')
  await vm.shell('echo after! >/dev/vda; sync')

  assert.equal(readdirSync(join(world.place.base, 'fast')).length, 3, 'The mark and two layers.')
  const dropped = await world.client.call(endpoints.deleteSnapshot, {
    params: { ...params, snapshot: 'one' },
  })
  await waitForJob(world.client, dropped, { signal })
  assert.equal(readdirSync(join(world.place.base, 'fast')).length, 2)
  assert.equal(await vm.shell('head -c 6 /dev/vda'), 'after!')
})

test('clones of a volume hold what it held, and each its own from then on', { skip }, async (t) => {
  await using world = await openWorld(t)
  await createVolume(world, 'default', 'origin')
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', volume: 'origin' }] })
  await vm.shell('echo first >/dev/vda; sync')
  await vm.powerOff()
  const clone = async (name: string, mode: 'linked' | 'full') => {
    const params = { pool: 'default', volume: 'origin' }
    const job = await world.client.call(endpoints.cloneVolume, { params, body: { name, mode } })
    await waitForJob(world.client, job, { signal })
  }

  await clone('linked', 'linked')
  await clone('full', 'full')
  await vm.start()
  await vm.waitForLogin(2)
  await vm.shell('echo later >/dev/vda; sync')

  for (const volume of ['linked', 'full']) {
    const other = await world.bootTiny(`on-${volume}`, { disks: [{ name: 'data', volume }] })
    assert.equal(await other.shell('head -c 5 /dev/vda'), 'first')
  }
  assert.equal(await vm.shell('head -c 5 /dev/vda'), 'later')
})

test('a pool whose server hangs is unreachable, its VM says so, and everything else is answered', {
  skip: skipHung,
}, async (t) => {
  await using world = await openWorld(t)
  const real = join(world.place.base, 'real')
  const path = join(world.place.base, 'mounted')
  for (const folder of [real, path]) mkdirSync(folder, { mode: 0o700 })
  const server = spawn('bindfs', ['-f', real, path], { stdio: 'ignore' })
  try {
    await eventually(async () => readFileSync('/proc/self/mounts', 'utf8').includes(` ${path} fuse`), {
      withinMs: 10_000,
      what: 'bindfs mounts',
    })
    await createPool(world, 'slow', path)
    await createVolume(world, 'slow', 'data')
    const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'slow', volume: 'data' }] })
    const spec = { disks: [{ name: 'more', pool: 'slow', size: '16MiB' }] }
    await world.client.call(endpoints.createVm, { body: { name: 'web2', spec } })
    server.kill('SIGSTOP')

    const startedMs = performance.now()
    const pool = await world.client.call(endpoints.startPool, { params: { pool: 'slow' } })
    const answeredMs = performance.now() - startedMs

    assert.equal(pool.state, 'unreachable')
    assert.ok(answeredMs < 10_000, `${answeredMs} ms`)
    assert.match((await vm.show()).status.poolTrouble?.[0]?.reason ?? '', /did not answer/)
    assert.equal((await vm.show()).status.state, 'running')
    await assert.rejects(createVolume(world, 'slow', 'none'), hasCode('pool-unreachable'))
    await assert.rejects(world.vm('web2').start())
    await createVolume(world, 'default', 'other')
    await vm.powerOff()

    server.kill('SIGCONT')
    await eventually(
      async () => {
        const { state } = await world.client.call(endpoints.startPool, { params: { pool: 'slow' } })
        return state === 'active'
      },
      { withinMs: 20_000, what: 'the pool answers again' },
    )
    await world.vm('web2').start()
    await world.vm('web2').powerOff()
    for (const name of ['web1', 'web2']) await world.vm(name).delete({ disks: true })
    await world.client.call(endpoints.deletePool, { params: { pool: 'slow' }, query: { data: 'remove' } })
    assert.deepEqual(readdirSync(real), [])
  } finally {
    const exited = once(server, 'exit')
    server.kill('SIGKILL')
    await exited
    execFileSync('umount', ['-l', path])
  }
})

test('a refresh tells of files that came and went behind our back', { skip }, async (t) => {
  await using world = await openWorld(t)
  await createPool(world, 'fast')
  const { path = '' } = await createVolume(world, 'fast', 'data')
  writeFileSync(join(world.place.base, 'fast', 'old.img'), 'x')
  execFileSync('rm', [path])

  const { findings, health } = await world.client.call(endpoints.refreshPool, { params: { pool: 'fast' } })

  assert.deepEqual(
    findings?.map(({ kind, file, volume }) => [kind, volume ?? file]),
    [
      ['missing', 'data'],
      ['foreign', 'old.img'],
    ],
  )
  assert.equal(health, 'bad')
  await world.client.call(endpoints.deletePool, { params: { pool: 'fast' }, query: { data: 'remove' } })
  assert.deepEqual(readdirSync(join(world.place.base, 'fast')), ['old.img'])
})

test('a file of another format is named as what it is and stays as it was when it is refused', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await createPool(world, 'fast')
  const folder = join(world.place.base, 'fast')
  const formats = { vmdk: 'a VMDK image', vdi: 'a VDI image', qed: 'a QED image', vhdx: 'a VHDX image' }
  const files = Object.entries(formats).map(([format, what]) => ({ file: `old.${format}`, format, what }))
  const make = (file: string, ...options: readonly string[]) => {
    execFileSync('qemu-img', ['create', '-q', ...options, join(folder, file), '8M'])
    chownSync(join(folder, file), 1234, 1235)
    chmodSync(join(folder, file), 0o600)
  }
  const whose = (file: string) => {
    const { uid, gid, mode } = statSync(join(folder, file))
    return [uid, gid, mode & 0o7777]
  }
  for (const { file, format } of files) make(file, '-f', format)
  make('good.qcow2', '-f', 'qcow2')
  make('evil.qcow2', '-f', 'qcow2', '-u', '-F', 'raw', '-b', '/etc/shadow')
  const importAs = (file: string, format: string, ...more: readonly string[]) =>
    world.cli('volume', 'import', 'fast/old', file, '--format', format, ...more)

  for (const { file, what } of files)
    for (const format of ['raw', 'qcow2']) {
      const { code, stderr } = await importAs(file, format)
      assert.equal(code, 1, stderr)
      assert.match(stderr, new RegExp(`fast/old is ${what} and no.*, so it is not imported`, 's'))
    }
  for (const [file, format] of [
    ['evil.qcow2', 'qcow2'],
    ['good.qcow2', 'raw'],
  ] as const)
    assert.equal((await importAs(file, format)).code, 1)
  await world.client.call(endpoints.createSecret, {
    body: { name: 'key', value: 'a passphrase' },
  })
  for (const format of ['raw', 'qcow2'])
    assert.equal((await importAs('old.vmdk', format, '--encrypt', 'key')).code, 1)
  const { findings = [] } = await world.client.call(endpoints.refreshPool, { params: { pool: 'fast' } })

  const details = new Map(findings.map(({ file, detail }) => [file, detail]))
  for (const { file, what } of files)
    assert.match(details.get(file) ?? '', new RegExp(`It is ${what}, so it is imported neither as raw nor`))
  assert.match(details.get('good.qcow2') ?? '', /can be imported as qcow2/)
  assert.match(details.get('evil.qcow2') ?? '', /lies on another file \("\/etc\/shadow"\), so it cannot/)
  for (const file of [...files.map((one) => one.file), 'good.qcow2', 'evil.qcow2'])
    assert.deepEqual([file, ...whose(file)], [file, 1234, 1235, 0o600])
  const good = await importAs('good.qcow2', 'qcow2')
  assert.equal(good.code, 0, good.stderr)
  assert.deepEqual(whose('good.qcow2'), [0, 0, 0o600])
})

test('a volume that another program has open is not started with, and the refusal names that program', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const made = await world.cli('volume', 'create', 'data', '--size', '4MiB', '--format', 'raw')
  assert.equal(made.code, 0, made.stderr)
  const { path = '' } = await world.client.call(endpoints.getVolume, {
    params: { pool: 'default', volume: 'data' },
  })
  const vm = await world.createTiny('web1', { disks: [{ name: 'data', volume: 'data' }] })
  const running = await world.createTiny('web2')
  await running.start()
  const other = spawn('qemu-io', ['-f', 'raw', path])
  try {
    await once(other.stdout, 'data') // It is open when it asks what to do.

    const refusal = new RegExp(`${path} is locked by qemu-io \\(PID ${other.pid}\\), so`)
    await assert.rejects(vm.start(), { code: 'in-use', message: refusal })
    await vm.delete({ disks: false })
    const plugged = await world.cli('vm', 'disk', 'add', 'web2', 'volume=data,name=data')
    assert.match(plugged.stderr, refusal)
  } finally {
    other.stdin.end()
    await once(other, 'exit')
  }
})
