/** Disks read as they were at one instant under a guest that writes, and what changed since checkpoints. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { startCli } from '../machine/cli.ts'
import { eventually } from '../machine/eventually.ts'
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

/** A guest that writes to the first of its disks, each on an I/O thread. */
async function bootWriter(world: World): Promise<VmHandle> {
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'a', size: '16MiB' },
      { name: 'b', size: '16MiB', bus: 'virtio-scsi' },
    ],
    nics: [],
  })
  await vm.shell('echo first >/dev/sda; sync')
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  return vm
}

test('a full copy and what changed since its checkpoints are the disks, over a restart, a move and a snapshot', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await addPool(world, 'fast')
  const vm = await bootWriter(world)
  const check = async (folders: readonly string[], flushed: readonly number[]) => {
    const top = rebuilt(world, 'a', folders)
    assert.deepEqual(await wrongBlocks({ top, scratch: world.place.base }, flushed), [])
  }

  const before = await flushedBlocks(vm)
  t.diagnostic(await exportTo(world, 'full', '--checkpoint', 'monday'))
  await check(['full'], before)
  await untilItWritesOn(vm)
  await world.assertCleanAudit()
  await vm.assertCaged()

  await vm.shell('echo second | dd of=/dev/sda bs=1M seek=4 conv=notrunc; sync')
  await untilItWritesOn(vm)
  const later = await flushedBlocks(vm)
  const said = await exportTo(world, 'one', '--since', 'monday', '--checkpoint', 'tuesday')
  assert.match(said, /What changed of disk a since monday/)
  await check(['full', 'one'], later)

  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  await beginWriting(vm, 'vda', 10_000)
  await untilItWritesOn(vm)
  await movesOf(world, vm).move('a', { pool: 'fast' })
  await vm.shell('echo third | dd of=/dev/sda bs=1M seek=8 conv=notrunc; sync')
  await snapshotsOf(world, vm).create('between')
  await untilItWritesOn(vm)
  await vm.shell('echo fourth | dd of=/dev/sda bs=1M seek=12 conv=notrunc; sync')
  await endWriting(vm) // Then two exports are of the same disk.
  const lastSaid = await exportTo(world, 'two', '--since', 'tuesday')
  await exportTo(world, 'whole')

  assert.doesNotMatch(lastSaid, /All of disk/)
  for (const disk of ['a', 'b']) {
    assertRebuilt(world, disk, { folders: ['full', 'one', 'two'], whole: 'whole' })
  }
  await world.assertCleanAudit()

  for (let times = 0; times < 3; times++) {
    const early = startCli(world.place, ['vm', 'export', 'web1', 'b', '-'])
    const ended = once(early, 'close')
    await once(early.stdout, 'data')
    early.stdout.destroy()
    await ended
    assert.equal(early.exitCode, 0)
  }
  const { code, stdout, stderr } = await world.cli('vm', 'export', 'web1', 'b', '-', '--quiesce')
  assert.equal(code, 0, stderr)
  assert.equal(stdout.length, 16 * 2 ** 20)
  assert.deepEqual(
    [0, 4, 8, 12].map((mib) => stdout.slice(mib * 2 ** 20).split('\n', 1)[0]),
    ['first', 'second', 'third', 'fourth'],
  )
  await vm.powerOff()
  const off = join(world.place.base, 'off.raw')
  assert.equal((await world.cli('vm', 'export', 'web1', 'b', off)).code, 0)
  assert.equal(readFileSync(off, 'latin1'), stdout)
})

test('a reader that stands still holds up no guest, and nothing of it is left when it or the daemon goes', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWriter(world)
  const params = { name: 'web1' }
  await vm.shell('dd if=/dev/urandom of=/dev/sda bs=1M count=16; sync')
  const begin = () =>
    world.client.call(endpoints.createInstant, { params, body: { idleSeconds: 2, disks: ['a', 'b'] } })
  const noneLeft = async () => {
    const [volumes, instants] = await Promise.all([
      world.client.call(endpoints.listVolumes),
      world.client.call(endpoints.listInstants, { params }),
    ])
    return (volumes.length === 2 && instants.length === 0) || undefined
  }
  const eventuallyNone = () => eventually(noneLeft, { withinMs: 60_000, what: 'nothing is kept of the VM' })

  const slow = await begin()
  await eventually(
    async () => (await world.client.call(endpoints.listInstants, { params }))[0]?.copied === 1 || undefined,
    { withinMs: 60_000, what: 'the disks are copied' },
  )
  const leaving = new AbortController()
  const { pieces } = await world.client.openInstant(
    { name: 'web1', instant: slow.id, disk: 'b' },
    { signal: leaving.signal },
  )
  await pieces[Symbol.asyncIterator]().next()
  await vm.shell('dd if=/dev/zero of=/dev/sda bs=1M count=16; sync')
  await untilItWritesOn(vm)
  leaving.abort(new Error('The client goes.'))
  await eventuallyNone()
  await world.assertCleanAudit()

  await begin()
  await world.daemon.kill9()
  await world.startDaemon()
  await eventuallyNone()
  await untilItWritesOn(vm)
})

test('what changed is not known after the emulator was killed: all of the disk is exported, and that is said', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await bootWriter(world)
  const created = await world.cli('checkpoint', 'create', 'web1', 'monday')
  assert.equal(created.code, 0, created.stderr)
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  const listed = await world.client.call(endpoints.listCheckpoints, { params: { name: 'web1' } })
  assert.deepEqual(
    listed.flatMap(({ disks }) => disks.map(({ state }) => state)),
    ['usable', 'usable'],
  )

  process.kill(await vm.pid(), 'SIGKILL')
  await vm.untilState('crashed')
  await vm.start()
  await vm.waitForLogin(3)
  const said = await exportTo(world, 'again', '--since', 'monday', '--checkpoint', 'tuesday')

  assert.match(said, /All of disk a is exported, since what changed is not known/)
  const top = rebuilt(world, 'a', ['again'])
  assert.deepEqual(await wrongBlocks({ top, scratch: world.place.base }, await flushedBlocks(vm)), [])
  const table = await world.cli('checkpoint', 'list', 'web1')
  assert.match(table.stdout, /monday.*a: lost, b: lost/)
  assert.match(table.stdout, /tuesday.*a: 0 B/)
  await world.cli('checkpoint', 'delete', 'web1', 'monday')
  assert.doesNotMatch((await world.cli('checkpoint', 'list', 'web1')).stdout, /monday/)
})
