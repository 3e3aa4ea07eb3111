/** What changed since checkpoints of raw disks, whose format has no room for noting it. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { z } from 'zod'
import { needs } from '../../tools/require.ts'
import { assertRebuilt, exportTo, rebuilt } from '../machine/exported.ts'
import { addPool, movesOf } from '../machine/moves.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'
import {
  beginWriting,
  endWriting,
  flushedBlocks,
  untilItWritesOn,
  wrongBlocks,
} from '../machine/writing-guest.ts'

const skip = needs('root', 'qemu')

/** A guest that writes to the first of its raw disks, each on an I/O thread. */
async function bootWriter(world: World): Promise<VmHandle> {
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'a', size: '16MiB', format: 'raw' },
      { name: 'b', size: '16MiB', format: 'raw', bus: 'virtio-scsi' },
    ],
    nics: [],
  })
  await write(vm, 'first', 0)
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  return vm
}

async function write(vm: VmHandle, word: string, atMib: number): Promise<void> {
  await vm.shell(`echo ${word} | dd of=/dev/sda bs=1M seek=${atMib} conv=notrunc; sync`)
}

/** The states of each checkpoint's disks. */
async function states(world: World): Promise<Readonly<Record<string, string>>> {
  const list = await world.client.call(endpoints.listCheckpoints, { params: { name: 'web1' } })
  return Object.fromEntries(list.map(({ name, disks }) => [name, disks.map(({ state }) => state).join()]))
}

function notes(world: World): readonly string[] {
  return readdirSync(join(world.place.stateDir, 'notes'))
}

/** Writes on from there once the guest is up again. */
async function goOn(vm: VmHandle, times: number): Promise<void> {
  await vm.waitForLogin(times)
  await beginWriting(vm, 'vda', (times - 1) * 10_000)
  await untilItWritesOn(vm)
}

test('what changed on raw disks is known over restarts, a save, a snapshot and moves to other formats', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await addPool(world, 'fast')
  const vm = await bootWriter(world)
  const check = async (folders: readonly string[], flushed: readonly number[]) => {
    const top = rebuilt(world, 'a', folders)
    assert.deepEqual(await wrongBlocks({ top, scratch: world.place.base }, flushed), [])
  }

  await exportTo(world, 'full', '--checkpoint', 'monday')
  await untilItWritesOn(vm)
  await write(vm, 'second', 4)
  const later = await flushedBlocks(vm)
  const said = await exportTo(world, 'one', '--since', 'monday', '--checkpoint', 'tuesday')
  assert.match(said, /What changed of disk a since monday/)
  await check(['full', 'one'], later)

  await vm.powerOff()
  assert.equal(notes(world).length, 2)
  await world.assertCleanAudit()
  await vm.start()
  await goOn(vm, 2)
  assert.deepEqual(notes(world), [])
  await vm.assertCaged()
  await write(vm, 'third', 8)
  await vm.save()
  await vm.start()
  await untilItWritesOn(vm)
  assert.deepEqual(await states(world), { monday: 'usable,usable', tuesday: 'usable,usable' })
  await exportTo(world, 'two', '--since', 'tuesday', '--checkpoint', 'wednesday')

  await snapshotsOf(world, vm).create('between')
  await untilItWritesOn(vm)
  await write(vm, 'fourth', 12)
  await snapshotsOf(world, vm).delete('between')
  await movesOf(world, vm).move('a', { pool: 'fast', format: 'qcow2' })
  await untilItWritesOn(vm)
  await movesOf(world, vm).move('a', { pool: 'default', format: 'raw' })
  await untilItWritesOn(vm)
  await vm.powerOff()
  await vm.start()
  await goOn(vm, 3)
  await endWriting(vm) // Then two exports are of the same disk.
  const lastSaid = await exportTo(world, 'three', '--since', 'wednesday')
  await exportTo(world, 'whole')

  assert.doesNotMatch(lastSaid, /All of disk/)
  for (const disk of ['a', 'b'])
    assertRebuilt(world, disk, { folders: ['full', 'one', 'two', 'three'], whole: 'whole' })
  await world.assertCleanAudit()
})

test('what was noted of raw disks is lost, and said to be, when the emulator is killed or a disk changes without it', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWriter(world)
  const create = (name: string) =>
    world.client.call(endpoints.createCheckpoint, { params: { name: 'web1' }, body: { name } })

  await create('monday')
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  process.kill(await vm.pid(), 'SIGKILL')
  await vm.untilState('crashed')
  await vm.start()
  await vm.waitForLogin(3)
  assert.deepEqual(await states(world), { monday: 'lost,lost' })
  const said = await exportTo(world, 'again', '--since', 'monday', '--checkpoint', 'tuesday')
  assert.match(said, /All of disk a is exported, since what changed is not known/)
  const top = rebuilt(world, 'a', ['again'])
  assert.deepEqual(await wrongBlocks({ top, scratch: world.place.base }, await flushedBlocks(vm)), [])

  await vm.powerOff()
  assert.equal((await world.cli('volume', 'resize', 'default/web1-a', '32MiB')).code, 0)
  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal(notes(world).length, 1)
  await vm.start()
  await vm.waitForLogin(4)
  assert.deepEqual(await states(world), { monday: 'lost,lost', tuesday: 'lost,usable' })
})

test('what changed on a raw disk in LUKS is known after a power-off, the next daemon and a start', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const { client } = world
  await client.call(endpoints.createSecret, { body: { name: 'luks', value: 'Correct-Horse-7f3a91' } })
  const body = { name: 'locked', size: 16 * 2 ** 20, format: 'raw' as const, encrypt: 'luks' }
  await client.call(endpoints.createVolume, { params: { pool: 'default' }, body, timeoutMs: 300_000 })
  const disks = [{ name: 'a', volume: 'locked', bus: 'virtio-scsi' as const }]
  const vm = await world.bootTiny('web1', { disks, nics: [] })
  await write(vm, 'first', 0)
  await exportTo(world, 'full', '--checkpoint', 'monday')
  await write(vm, 'second', 4)

  await vm.powerOff()
  assert.equal(notes(world).length, 1)
  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal(notes(world).length, 1)
  await world.assertCleanAudit()
  await vm.start()
  await vm.waitForLogin(2)
  assert.deepEqual(notes(world), [])
  assert.deepEqual(await states(world), { monday: 'usable' })
  await write(vm, 'third', 8)
  const said = await exportTo(world, 'one', '--since', 'monday')
  await exportTo(world, 'whole')

  assert.match(said, /What changed of disk a since monday/)
  assertRebuilt(world, 'a', { folders: ['full', 'one'], whole: 'whole' })
  const file = join(world.place.base, 'one', 'a.qcow2')
  const map = execFileSync('qemu-img', ['map', '--output=json', '-f', 'qcow2', file]).toString()
  const parts = z.array(z.object({ length: z.int(), present: z.boolean() })).parse(JSON.parse(map))
  const changed = parts.filter(({ present }) => present).reduce((sum, { length }) => sum + length, 0)
  assert.ok(changed > 0 && changed <= 2 * 65_536, `${changed} bytes are in what changed`)
  await world.assertCleanAudit()
})
