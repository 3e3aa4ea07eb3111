/** Disks on an iSCSI server that QEMU speaks to itself: with CHAP, grown, gone, and with the server stopped under a running guest. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, readlinkSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { type IscsiServer, openIscsiServer } from '../../tools/servers/iscsi-target.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'tgt')
const mib = 2 ** 20
const target = 'iqn.2026-11.example:disks'
const chap = { user: 'alice', secret: 'not to be seen anywhere' }

function hasCode(code: KvasirError['code']) {
  return (error: unknown) => error instanceof KvasirError && error.code === code
}

function importLun(world: World, file: string) {
  const body = { name: file, file, format: 'raw' as const }
  return world.client.call(endpoints.importVolume, { params: { pool: 'san' }, body })
}

test('a guest has a disk on a target with CHAP, and its QEMU has no network', { skip }, async (t) => {
  await using server = await openIscsiServer()
  await server.addTarget(target, [64 * mib, 32 * mib, 96 * mib], chap)
  await using world = await openWorld(t)
  await world.client.call(endpoints.createSecret, { body: { name: 'san-key', value: chap.secret } })
  const created = ['pool', 'create', 'san', '--type', 'iscsi', '--server', '127.0.0.1', '--target', target]
  await world.cli(...created, '--port', String(server.port), '--user', chap.user, '--secret', 'san-key')
  await importLun(world, 'lun-1')
  await importLun(world, 'lun-2')
  await lookIntoOthers(world, server)
  await assert.rejects(importLun(world, 'lun-1'), hasCode('in-use'))
  await assert.rejects(
    world.client.call(endpoints.createVolume, {
      params: { pool: 'san' },
      body: { name: 'new', size: mib, format: 'raw' },
    }),
    hasCode('unsupported'),
  )

  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'san', volume: 'lun-1' }] })
  await vm.shell('echo kept on the server >/dev/vda; sync')
  assert.match(readFileSync(server.file(target, 1)).subarray(0, 32).toString(), /^kept on the server/)

  const { pid } = (await vm.show()).status
  assert.ok(pid !== undefined)
  assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync('/proc/self/ns/net'))
  assert.equal(await vm.shell('cat /sys/block/vda/size'), String((64 * mib) / 512))
  for (const seen of [readFileSync(`/proc/${pid}/cmdline`, 'utf8'), JSON.stringify(await vm.show())])
    assert.ok(!seen.includes(chap.secret))
  assert.deepEqual(
    await world.client.call(endpoints.getPool, { params: { pool: 'san' } }).then((pool) => pool.state),
    'active',
  )

  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: [...spec.disks, { name: 'more', pool: 'san', volume: 'lun-2' }] })
  await eventually(async () => (await vm.shell('ls /sys/block')).includes('vdb'), {
    withinMs: 30_000,
    what: 'the guest sees the disk that was plugged',
  })
  await vm.shell('echo plugged >/dev/vdb; sync')
  assert.match(readFileSync(server.file(target, 2)).subarray(0, 7).toString(), /^plugged/)
  await vm.apply(spec)
  await eventually(async () => !(await vm.shell('ls /sys/block')).includes('vdb'), {
    withinMs: 60_000,
    what: 'the guest lets go of the disk',
  })
  await moveIntoVolumes(vm, { world, server })
  await vm.delete({ disks: true })
  assert.match(readFileSync(server.file(target, 1)).subarray(0, 32).toString(), /^kept on the server/)
})

/** A refresh says what is on a LUN that nobody imported; LUN 3 is plain again afterwards. */
async function lookIntoOthers(world: World, server: IscsiServer): Promise<void> {
  const [plain] = await refreshed(world)
  const put = (bytes: Buffer) => {
    const file = openSync(server.file(target, 3), 'r+')
    writeSync(file, bytes, 0, bytes.length, 0)
    closeSync(file)
  }
  put(Buffer.from('QFI\xfb', 'latin1'))
  const [packed] = await refreshed(world)
  put(Buffer.alloc(4))

  assert.match(plain?.detail ?? '', /can be imported as raw\.$/)
  assert.match(packed?.detail ?? '', /begins like a qcow2 image, .* imported by force alone/)
}

/** Its disk goes from LUN 1 to the larger LUN 3 under the guest, and, when it is off, to a volume of files and back. */
async function moveIntoVolumes(
  vm: VmHandle,
  { world, server }: { readonly world: World; readonly server: IscsiServer },
): Promise<void> {
  const into = (...words: string[]) => world.cli('vm', 'disk', 'move', vm.name, 'data', '--into', ...words)
  const onServer = (lun: number, length: number) =>
    readFileSync(server.file(target, lun)).subarray(0, length).toString()
  await importLun(world, 'lun-3')
  const file = openSync(server.file(target, 3), 'r+')
  writeSync(file, Buffer.from([0x53, 0xef]), 0, 2, 1080)
  closeSync(file)
  const pid = await vm.pid()

  assert.match((await into('san/lun-2')).stderr, /only 32 MiB/)
  assert.match((await into('san/lun-3')).stderr, /holds an ext2, ext3 or ext4 file system/)
  const forced = await into('san/lun-3', '--force')
  assert.equal(forced.code, 0, forced.stderr)
  assert.equal(await vm.pid(), pid)
  await eventually(async () => (await vm.shell('cat /sys/block/vda/size')) === String((96 * mib) / 512), {
    withinMs: 30_000,
    what: 'the guest sees all of the LUN',
  })
  await vm.shell('printf moved | dd of=/dev/vda bs=1 conv=notrunc,fsync 2>/dev/null')
  assert.equal(onServer(3, 18), 'movedon the server')
  assert.equal(onServer(1, 18), 'kept on the server')
  await vm.shell('printf end | dd of=/dev/vda bs=1M seek=95 conv=notrunc,fsync 2>/dev/null')
  await world.assertCleanAudit()

  await vm.powerOff()
  assert.match((await into('san/lun-1')).stderr, /only 64 MiB/)
  const spare = { name: 'spare', size: 96 * mib, format: 'raw' as const }
  await world.client.call(endpoints.createVolume, { params: { pool: 'default' }, body: spare })
  for (const words of [['spare'], ['san/lun-3', '--keep']]) {
    const run = await into(...words)
    assert.equal(run.code, 0, run.stderr)
  }
  assert.equal(onServer(3, 18), 'movedon the server')
  const volumes = await world.client.call(endpoints.listVolumes)
  assert.deepEqual(volumes.map(({ name, usedBy }) => [name, ...usedBy].join(' of ')).toSorted(), [
    'lun-1',
    'lun-2',
    `lun-3 of ${vm.name}`,
    'spare',
  ])
  assert.equal(
    readFileSync(volumes.find(({ name }) => name === 'spare')?.path ?? '')
      .subarray(95 * mib, 95 * mib + 3)
      .toString(),
    'end',
  )
}

test('a target that is stopped makes its pool unreachable, its VM says so, and all else is answered', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await server.addTarget(target, [64 * mib, 32 * mib])
  await using world = await openWorld(t)
  const wanted = { type: 'iscsi' as const, name: 'san', server: server.address, port: server.port, target }
  await world.client.call(endpoints.createPool, { body: wanted })
  await assert.rejects(
    world.client.call(endpoints.createPool, { body: { ...wanted, name: 'again' } }),
    hasCode('pool-refused'),
  )
  for (const lun of ['lun-1', 'lun-2']) await importLun(world, lun)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'san', volume: 'lun-1' }] })
  const spec = { disks: [{ name: 'data', pool: 'san', volume: 'lun-2' }] }
  await world.client.call(endpoints.createVm, { body: { name: 'web2', spec } })
  server.stop()
  try {
    const startedMs = performance.now()
    const pool = await world.client.call(endpoints.startPool, { params: { pool: 'san' } })
    const answeredMs = performance.now() - startedMs

    assert.equal(pool.state, 'unreachable')
    assert.ok(answeredMs < 30_000, `${answeredMs} ms`)
    assert.match((await vm.show()).status.poolTrouble?.[0]?.reason ?? '', /does not answer/)
    await assert.rejects(world.vm('web2').start(), hasCode('pool-unreachable'))
    const body = { name: 'other', size: mib, format: 'raw' as const }
    await world.client.call(endpoints.createVolume, { params: { pool: 'default' }, body })
    assert.equal((await vm.show()).status.state, 'running')
  } finally {
    server.goOn()
  }

  await eventually(
    async () =>
      (await world.client.call(endpoints.startPool, { params: { pool: 'san' } })).state === 'active',
    { withinMs: 60_000, what: 'the pool answers again' },
  )
  await vm.shell('echo after it >/dev/vda; sync')
  assert.match(readFileSync(server.file(target, 1)).subarray(0, 8).toString(), /^after it/)
  await world.vm('web2').start()
  await world.vm('web2').powerOff()
  await server.removeLun(target, 2)
  assert.deepEqual(
    (await refreshed(world)).map(({ kind, volume }) => [kind, volume]),
    [['missing', 'lun-2']],
  )
  await assert.rejects(world.vm('web2').start(), hasCode('file-not-found'))
  await server.addLun(target, 2, 32 * mib)
  assert.deepEqual(await refreshed(world), [])
})

async function refreshed(world: World) {
  const { findings = [] } = await world.client.call(endpoints.refreshPool, { params: { pool: 'san' } })
  return findings
}

test('a VM whose QEMU waits for a target that is stopped can be switched off, and holds up nobody', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await server.addTarget(target, [64 * mib])
  await using world = await openWorld(t)
  const wanted = { type: 'iscsi' as const, name: 'san', server: server.address, port: server.port, target }
  await world.client.call(endpoints.createPool, { body: wanted })
  await importLun(world, 'lun-1')
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', pool: 'san', volume: 'lun-1' }] })
  server.stop()
  try {
    await vm.shell('(echo never written >/dev/vda; sync) >/dev/null 2>&1 &')
    const other = await world.bootTiny('web2')
    assert.equal(await other.shell('echo alive'), 'alive')

    await vm.powerOff()

    assert.equal((await vm.show()).status.state, 'shutoff')
    await vm.delete({ disks: false })
  } finally {
    server.goOn()
  }
})
