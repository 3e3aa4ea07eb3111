/** LUNs that are made larger on their server under a guest: what changed since a checkpoint is true, or said not to be known. */
import assert from 'node:assert/strict'
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { type IscsiServer, openIscsiServer } from '../../tools/servers/iscsi-target.ts'
import { eventually } from '../machine/eventually.ts'
import { assertRebuilt, exportTo } from '../machine/exported.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'tgt')
const mib = 2 ** 20
const target = 'iqn.2026-11.example:grown'
const params = { pool: 'san' }
const [before, after] = [16 * mib, 32 * mib]

/** A guest whose disk is a LUN, and a full copy of it with the checkpoint monday. */
async function bootOnLun(world: World, server: IscsiServer): Promise<VmHandle> {
  await server.addTarget(target, [before])
  const body = { type: 'iscsi' as const, name: 'san', server: server.address, port: server.port, target }
  await world.client.call(endpoints.createPool, { body })
  const lun = { name: 'data', file: 'lun-1', format: 'raw' as const }
  await world.client.call(endpoints.importVolume, { params, body: lun })
  const disks = [{ name: 'a', pool: 'san', volume: 'data' }]
  const vm = await world.bootTiny('web1', { disks, nics: [] })
  await write(vm, 'first', 0)
  return vm
}

async function write(vm: VmHandle, word: string, atMib: number): Promise<void> {
  await vm.shell(`echo ${word} | dd of=/dev/vda bs=1M seek=${atMib} conv=notrunc,fsync 2>/dev/null`)
}

/** Where it grew, the LUN holds what others left there. */
async function growOnServer(server: IscsiServer): Promise<void> {
  const file = openSync(server.file(target, 1), 'r+')
  try {
    ftruncateSync(file, after)
    const left = Buffer.alloc(mib, 'what others left there ')
    writeSync(file, left, 0, left.length, after - 2 * mib)
  } finally {
    closeSync(file)
  }
  await server.killAndRestart()
}

/** The volume of the disk has what the LUN has, and the guest sees it. */
async function growVolume(world: World, vm: VmHandle): Promise<void> {
  const volume = await volumeOf(vm)
  let said = ''
  const isGrown = async () => {
    const run = await world.cli('volume', 'resize', volume, String(after))
    said = run.stderr
    return run.code === 0
  }
  await eventually(isGrown, { withinMs: 60_000, what: 'the volume is as large as the LUN' }).catch(
    (cause) => {
      throw new Error(said, { cause })
    },
  )
  await eventually(async () => (await vm.shell('cat /sys/block/vda/size')) === String(after / 512), {
    withinMs: 30_000,
    what: 'the guest sees its disk grow',
  })
}

async function volumeOf(vm: VmHandle): Promise<string> {
  const { pool = '', volume = '' } = (await vm.show()).spec.disks[0] ?? {}
  return `${pool}/${volume}`
}

async function states(world: World): Promise<Readonly<Record<string, string>>> {
  const list = await world.client.call(endpoints.listCheckpoints, { params: { name: 'web1' } })
  return Object.fromEntries(list.map(({ name, disks }) => [name, disks.map(({ state }) => state).join()]))
}

test('what changed on a LUN that grows under the guest is not known, and is from the next checkpoint on', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await using world = await openWorld(t)
  const vm = await bootOnLun(world, server)
  await exportTo(world, 'full', '--checkpoint', 'monday')
  await write(vm, 'second', 4)
  await exportTo(world, 'one', '--since', 'monday', '--checkpoint', 'tuesday')
  await growOnServer(server)
  await write(vm, 'third', 5)

  await growVolume(world, vm)
  assert.deepEqual(await states(world), { monday: 'lost', tuesday: 'lost' })
  await write(vm, 'fourth', 20)
  const said = await exportTo(world, 'two', '--since', 'tuesday', '--checkpoint', 'wednesday')
  await exportTo(world, 'whole')
  assert.match(said, /All of disk a is exported, since what changed is not known/)
  assertRebuilt(world, 'a', { folders: ['two'], whole: 'whole' })

  await write(vm, 'fifth', 24)
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  await write(vm, 'sixth', 28)
  const later = await exportTo(world, 'three', '--since', 'wednesday')
  await exportTo(world, 'last')
  assert.match(later, /What changed of disk a since wednesday/)
  assertRebuilt(world, 'a', { folders: ['two', 'three'], whole: 'last' })
  await world.assertCleanAudit()
})

test('a disk with a snapshot keeps its size when its LUN grows, and what others left there is not seen', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await using world = await openWorld(t)
  const vm = await bootOnLun(world, server)
  const snapshots = snapshotsOf(world, vm)
  await snapshots.create('between')
  await write(vm, 'second', 4)
  await exportTo(world, 'full', '--checkpoint', 'monday')
  await growOnServer(server)
  await write(vm, 'third', 5)

  const refused = await world.cli('volume', 'resize', await volumeOf(vm), String(after))
  assert.match(refused.stderr, /has snapshots on a LUN, .* keeps its 16 MiB until they are deleted/)
  assert.equal(await vm.shell('cat /sys/block/vda/size'), String(before / 512))
  await exportTo(world, 'one', '--since', 'monday', '--checkpoint', 'tuesday')
  await exportTo(world, 'whole')
  assertRebuilt(world, 'a', { folders: ['full', 'one'], whole: 'whole' })

  await snapshots.delete('between')
  assert.deepEqual(await states(world), { monday: 'lost', tuesday: 'lost' })
  await growVolume(world, vm)
  await write(vm, 'fourth', 24)
  const said = await exportTo(world, 'two', '--since', 'tuesday')
  await exportTo(world, 'last')
  assert.match(said, /All of disk a is exported, since what changed is not known/)
  assertRebuilt(world, 'a', { folders: ['two'], whole: 'last' })
  await world.assertCleanAudit()
})

test('a LUN that grew has its size from the next start on, and a snapshot has all of it', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await using world = await openWorld(t)
  const vm = await bootOnLun(world, server)
  const beyond = () => vm.shell('dd if=/dev/vda bs=1M skip=20 count=1 2>/dev/null | head -c 6')
  await exportTo(world, 'full', '--checkpoint', 'monday')
  await vm.powerOff()
  await growOnServer(server)

  await vm.start()
  await vm.waitForLogin(2)

  assert.equal(await vm.shell('cat /sys/block/vda/size'), String(after / 512))
  const data = { params: { ...params, volume: 'data' } }
  assert.equal((await world.client.call(endpoints.getVolume, data)).capacityBytes, after)
  assert.deepEqual(await states(world), { monday: 'lost' })
  await world.assertCleanAudit()
  await write(vm, 'beyond', 20)
  const snapshots = snapshotsOf(world, vm)
  await snapshots.create('between')
  assert.equal(await beyond(), 'beyond')
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(3)
  assert.equal(await vm.shell('cat /sys/block/vda/size'), String(after / 512))
  assert.equal(await beyond(), 'beyond')
  await snapshots.delete('between')
  assert.equal(await beyond(), 'beyond')
})
