/** Snapshots: of VMs that run and that do not, deleted from anywhere in the chain, and gone back to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { create, diskless } from '../machine/crash-steps.ts'
import { eventually } from '../machine/eventually.ts'
import { chainDifferences, fileOf, fill, isFull, openFiles, snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const disks = [
  { name: 'a', size: '64MiB' },
  { name: 'b', size: '64MiB', bus: 'virtio-scsi' },
] as const

/** Writes a word to a place of a disk, past all caches. */
const write = (vm: VmHandle, word: string, { disk = 'vda', place = 0 } = {}) =>
  vm.shell(
    `printf %-512s ${word} | dd of=/dev/${disk} bs=512 seek=$((${place}*2048)) count=1 conv=fsync,notrunc 2>/dev/null`,
  )
const read = (vm: VmHandle, { disk = 'vda', place = 0 } = {}) =>
  vm.shell(
    `echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/${disk} bs=512 skip=$((${place}*2048)) count=1 2>/dev/null | tr -d '\\0 '`,
  )

test('snapshots of a running VM are taken, merged from the middle and gone back to', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [...disks], nics: [] })
  const snapshots = snapshotsOf(world, vm)
  const words = ['one', 'two', 'three', 'four']

  for (const [place, word] of words.entries()) {
    await write(vm, word, { place })
    await write(vm, word, { disk: 'sda', place })
    const made = await snapshots.create(word)
    assert.ok(made.pauseMs !== undefined && made.pauseMs < 100, `The disks waited ${made.pauseMs} ms.`)
    t.diagnostic(`The disks waited ${made.pauseMs} ms.`)
    assert.deepEqual(await chainDifferences(world, vm), [])
  }
  const pid = await vm.pid()
  await write(vm, 'now')
  assert.deepEqual(
    (await snapshots.list()).map(({ name, parent, current }) => [name, parent, current]),
    [
      ['one', undefined, false],
      ['two', 'one', false],
      ['three', 'two', false],
      ['four', 'three', true],
    ],
  )

  for (const name of ['two', 'one', 'four']) {
    await snapshots.delete(name)
    assert.deepEqual(await chainDifferences(world, vm), [])
    assert.equal(await read(vm), 'now')
    for (const disk of ['vda', 'sda'])
      for (const place of [1, 2, 3]) assert.equal(await read(vm, { disk, place }), words[place])
  }
  assert.equal(await vm.pid(), pid)
  assert.deepEqual(
    (await snapshots.list()).map(({ name, parent, current }) => [name, parent, current]),
    [['three', undefined, true]],
  )

  await snapshots.revert('three')
  await vm.waitForLogin(2)
  assert.equal(await read(vm), 'one')
  assert.equal(await read(vm, { disk: 'sda', place: 2 }), 'three')
  assert.equal(await read(vm, { place: 3 }), '')
  assert.deepEqual(await chainDifferences(world, vm), [])
  await world.assertCleanAudit()
})

test('snapshots of a VM that is off branch, and every one of them can be deleted', { skip }, async (t) => {
  await using world = await openWorld(t)
  await create(world, 'web1', { ...diskless, disks: [disks[0]] })
  const vm = world.vm('web1')
  const snapshots = snapshotsOf(world, vm)
  const top = async () => fileOf(world, (await vm.show()).spec.disks[0]?.volume ?? '')
  await fill(await top(), 1, 0)
  await snapshots.create('one')
  await fill(await top(), 2, 0)
  await snapshots.create('two')

  await snapshots.revert('one', { keep: true })
  assert.ok(await isFull(await top(), 1, 0))
  await fill(await top(), 3, 1)
  await snapshots.create('three')
  for (const name of ['three', 'one']) await snapshots.delete(name)
  assert.ok(await isFull(await top(), 1, 0))
  assert.ok(await isFull(await top(), 3, 1))
  assert.deepEqual(await chainDifferences(world, vm), [])
  await snapshots.revert('two')
  assert.ok(await isFull(await top(), 2, 0))
  assert.ok(await isFull(await top(), 0, 1))
  await snapshots.delete('two')

  assert.ok(await isFull(await top(), 2, 0))
  assert.deepEqual(await chainDifferences(world, vm), [])
  await vm.delete()
  const left = await world.client.call(endpoints.listVolumes)
  assert.deepEqual(
    left.map(({ name, base }) => [name, base]),
    [
      ['web1-a.one', undefined],
      ['web1-a.one-2', 'web1-a.two'],
      ['web1-a.two', 'web1-a.one'],
    ],
    'what was kept stays, with what it lies on',
  )
})

test('a layer deep in a long chain is merged while the VM is off', { skip }, async (t) => {
  await using world = await openWorld(t)
  await create(world, 'web1', { ...diskless, disks: [disks[0]] })
  const vm = world.vm('web1')
  const snapshots = snapshotsOf(world, vm)
  const top = async () => fileOf(world, (await vm.show()).spec.disks[0]?.volume ?? '')
  const depth = 24 // Its names, spelled out, are longer than a header takes.
  for (let place = 0; place < depth; place++) {
    if (place < 3 || place > depth - 3) await fill(await top(), place + 1, place)
    await snapshots.create(`s${place}`)
  }

  for (const place of [depth - 2, 1]) await snapshots.delete(`s${place}`)

  assert.deepEqual(await chainDifferences(world, vm), [])
  for (const place of [0, 1, 2, depth - 2, depth - 1]) assert.ok(await isFull(await top(), place + 1, place))
  assert.ok(await isFull(await top(), 0, 5))
})

test('a layer that a clone is based on stays when its snapshot is deleted', { skip }, async (t) => {
  await using world = await openWorld(t)
  const source = await world.bootTiny('source', { disks: [disks[0]], nics: [] })
  const snapshots = snapshotsOf(world, source)
  await write(source, 'one')
  await snapshots.create('one')
  await write(source, 'two')
  await source.shutdown({ timeoutSeconds: 30 })
  const copy = await source.clone('copy', 'linked')
  await Promise.all([source.start(), copy.start()])
  await Promise.all([source.waitForLogin(2), copy.waitForLogin()])

  await snapshots.delete('one')

  assert.equal(await read(source), 'two')
  assert.equal(await read(copy), 'two')
  await source.powerOff()
  await source.delete()
  assert.equal(await read(copy), 'two')
})

test('a guest that was frozen for a snapshot writes again, and its disk can be unplugged with its snapshots', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [disks[0]], nics: [] })
  const snapshots = snapshotsOf(world, vm)

  const made = await snapshots.create('quiet', { quiesce: true })

  assert.equal(made.quiesced, true)
  await write(vm, 'after')
  assert.equal(await read(vm), 'after')

  await snapshots.create('before-unplug')
  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: [] })
  const pid = await vm.pid()
  const isGone = async () => (await openFiles(world, pid)).size === 0 || undefined
  await eventually(isGone, { withinMs: 20_000, what: 'the emulator has no file of the disk any more' })
})

test('a snapshot with memory brings back the guest as it was, beside its disks', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [disks[0]], nics: [] })
  const snapshots = snapshotsOf(world, vm)
  await write(vm, 'before')
  await vm.shell('echo remembered >/tmp/note')
  const pid = await vm.pid()

  const made = await snapshots.create('whole', { memory: true })

  t.diagnostic(`The guest stood for ${made.pauseMs} ms, for ${made.memoryBytes} bytes of memory.`)
  assert.equal(await vm.pid(), pid)
  assert.ok((made.memoryBytes ?? 0) > 0)
  await vm.isCounting()
  await write(vm, 'after')
  await vm.shell('echo changed >/tmp/note')
  const counted = await vm.counter()

  for (const from of ['running', 'shutoff']) {
    if (from === 'shutoff') await vm.powerOff()
    await snapshots.revert('whole')
    if (from === 'shutoff') await vm.start()
    assert.equal(await vm.shell('cat /tmp/note'), 'remembered')
    assert.equal(await read(vm), 'before')
    assert.equal(await vm.boots(), 1)
    assert.deepEqual(await chainDifferences(world, vm), [])
  }
  assert.ok((await vm.isCounting()) > 0 && counted > 0)
  await snapshots.delete('whole')
  assert.equal(await read(vm), 'before')
})
