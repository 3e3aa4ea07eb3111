/** Disks that move to another pool or format under a guest that writes numbered, checksummed blocks. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { addPool, movesOf } from '../machine/moves.ts'
import { chainDifferences, snapshotsOf } from '../machine/snapshots.ts'
import { openWorld } from '../machine/world.ts'
import { beginWriting, flushedBlocks, untilItWritesOn, wrongBlocks } from '../machine/writing-guest.ts'

const skip = needs('root', 'qemu')

test('disks move to another pool and format and back while the guest writes to them', { skip }, async (t) => {
  await using world = await openWorld(t)
  await addPool(world, 'fast')
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'a', size: '16MiB' },
      { name: 'b', size: '16MiB', bus: 'virtio-scsi', ioThread: false, discard: 'ignore' },
    ],
    nics: [],
  })
  const moves = movesOf(world, vm)
  const pid = await vm.pid()
  await vm.shell('dd if=/dev/zero of=/dev/sda bs=1M 2>/dev/null; echo kept >/dev/sda; sync')
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)

  for (const [pool, format] of [
    ['fast', 'raw'],
    ['default', 'raw'],
    ['fast', 'qcow2'],
  ] as const) {
    for (const disk of ['a', 'b']) t.diagnostic(`${(await moves.move(disk, { pool, format })).outcome}`)
    assert.deepEqual(await moves.differences(), [])
    const { allocatedBytes = 0 } = await moves.volume('b')
    assert.ok(allocatedBytes < 2 * 2 ** 20, `zeroes stay holes: ${allocatedBytes} bytes are allocated`)
    await untilItWritesOn(vm)
  }

  assert.equal(await vm.pid(), pid)
  assert.equal((await vm.show()).status.restartNeeded?.length ?? 0, 0)
  await vm.assertCaged()
  await world.assertCleanAudit()
  assert.equal(await vm.shell('head -c 4 /dev/sda'), 'kept')
  const flushed = await flushedBlocks(vm)
  await vm.powerOff()
  const { path = '' } = await moves.volume('a')
  assert.deepEqual(await wrongBlocks({ top: path, scratch: world.place.base }, flushed), [])
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('head -c 4 /dev/sda'), 'kept')
  assert.deepEqual(readdirSync(join(world.place.stateDir, 'volumes')), [])
})

test('a disk moves with its snapshots while its guest writes, and back while the VM is off', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await addPool(world, 'fast')
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'a', size: '16MiB', discard: 'ignore' }],
    nics: [],
  })
  const moves = movesOf(world, vm)
  const snapshots = snapshotsOf(world, vm)
  await vm.shell('echo of the first | dd of=/dev/vda bs=1M seek=8 conv=notrunc,fsync 2>/dev/null')
  await snapshots.create('one', { memory: true })
  await vm.shell('echo of the second | dd of=/dev/vda bs=1M seek=8 conv=notrunc,fsync 2>/dev/null')
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  await snapshots.create('two')
  await untilItWritesOn(vm)

  const run = await world.cli('vm', 'disk', 'move', 'web1', 'a', '--pool', 'fast')

  assert.equal(run.code, 0, run.stderr)
  t.diagnostic(run.stdout + run.stderr)
  assert.deepEqual(await moves.differences(), [])
  await untilItWritesOn(vm)
  await vm.assertCaged()
  await world.assertCleanAudit()
  await snapshots.delete('two')
  assert.deepEqual(await moves.differences(), [])
  await untilItWritesOn(vm)
  const flushed = await flushedBlocks(vm)
  await vm.powerOff()
  await moves.move('a', { pool: 'default' })
  assert.deepEqual(await moves.differences(), [])
  const { path = '' } = await moves.volume('a')
  assert.deepEqual(await wrongBlocks({ top: path, scratch: world.place.base }, flushed), [])
  await snapshots.revert('one')
  await vm.start() // With the memory of then.
  await vm.shell('echo 3 >/proc/sys/vm/drop_caches')
  assert.equal(await vm.shell('dd if=/dev/vda bs=1M skip=8 count=1 2>/dev/null | head -c 12'), 'of the first')
  assert.deepEqual(readdirSync(join(world.place.base, 'pools', 'fast')), ['.kvasir-pool'])
})

test('a clone becomes independent of its base while its guest writes, and its base goes', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const source = await world.bootTiny('source', { disks: [{ name: 'a', size: '16MiB' }], nics: [] })
  await source.shell('echo of the source >/dev/vda; sync')
  await source.powerOff()
  const vm = await source.clone('copy', 'linked')
  await source.delete()
  await vm.start()
  await vm.waitForLogin()
  await vm.shell('echo of the clone | dd of=/dev/vda bs=1M seek=8 conv=notrunc; sync')
  const { path = '', name: volume, pool } = await movesOf(world, vm).volume('a')
  const before = await vm.pid()

  const run = await world.cli('vm', 'disk', 'flatten', 'copy', 'a')

  assert.equal(run.code, 0, run.stderr)
  assert.equal(await vm.pid(), before)
  assert.deepEqual(await chainDifferences(world, vm), [])
  const volumes = await world.client.call(endpoints.listVolumes)
  assert.deepEqual(
    volumes.map(({ name, base }) => [name, base]),
    [[volume, undefined]],
  )
  await vm.powerOff()
  const dump = execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -v 0 16', path], {
    encoding: 'utf8',
  })
  assert.match(dump, /of.the.source/, 'it is in the file itself')
  const again = await world.client
    .call(endpoints.flattenVolume, { params: { pool, volume } })
    .catch((error: unknown) => error)
  assert.match(String(again), /nothing to flatten/)
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('dd if=/dev/vda bs=1M skip=8 count=1 2>/dev/null | head -c 12'), 'of the clone')
})

test('all disks of a guest that writes are exported as they are at one instant, and the guest goes on', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await addPool(world, 'backups')
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'a', size: '16MiB' },
      { name: 'b', size: '16MiB', bus: 'virtio-scsi' },
    ],
    nics: [],
  })
  await vm.shell('echo of the second >/dev/sda; sync')
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  const before = await flushedBlocks(vm)

  const run = await world.cli('vm', 'export', 'web1', 'monday', '--pool', 'backups', '--format', 'raw')

  assert.equal(run.code, 0, run.stderr)
  t.diagnostic(run.stdout + run.stderr)
  assert.deepEqual(await chainDifferences(world, vm), [])
  await world.assertCleanAudit()
  await untilItWritesOn(vm)
  const volumes = await world.client.call(endpoints.listVolumes)
  const pathOf = (name: string) => volumes.find((one) => one.name === name)?.path ?? ''
  const copy = { top: pathOf('web1-a.monday'), format: 'raw', scratch: world.place.base } as const
  assert.deepEqual(await wrongBlocks(copy, before), [])
  assert.match(readFileSync(pathOf('web1-b.monday')).subarray(0, 20).toString(), /^of the second/)
})
