/** Snapshots of a VM with disks on Ceph and one in a folder, on a real Ceph: of one instant, deleted anywhere, gone back to, and broken off. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { type CephCluster, startCeph } from '../../tools/servers/ceph-cluster.ts'
import { assertEmpty, openCephPool } from '../machine/ceph-pool.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import { snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'ceph')
const disks = [
  { name: 'a', pool: 'ceph1', size: '64MiB' },
  { name: 'b', pool: 'ceph1', size: '64MiB' },
  { name: 'c', size: '64MiB' },
] as const
const devices = ['vda', 'vdb', 'vdc']

let ceph: CephCluster
if (skip === false) {
  before(async () => {
    ceph = await startCeph()
  })
  after(() => ceph[Symbol.asyncDispose]())
}

/** Writes a word to a place of all disks, past all caches. */
async function write(vm: VmHandle, word: string, place = 0): Promise<void> {
  const to = (device: string) =>
    `printf %-512s ${word} | dd of=/dev/${device} bs=512 seek=$((${place}*2048)) count=1 conv=fsync,notrunc 2>/dev/null`
  await vm.shell(devices.map(to).join('; '))
}

/** What is at a place of all disks, in their order. */
async function read(vm: VmHandle, place = 0): Promise<string> {
  const from = (device: string) =>
    `dd if=/dev/${device} bs=512 skip=$((${place}*2048)) count=1 2>/dev/null | tr -d '\\0 '; echo`
  const said = await vm.shell(`echo 3 >/proc/sys/vm/drop_caches; ${devices.map(from).join('; ')}`)
  return said.trim().split(/\s+/).join(' ')
}

const thrice = (word: string) => `${word} ${word} ${word}`

/** What Ceph has of snapshots that were not made clones of, and images that no volume is. */
async function leftOnCeph(namespace: string): Promise<readonly string[]> {
  const report: unknown = JSON.parse(
    await ceph.tool('rbd', 'ls', '-l', `rbd/${namespace}`, '--format', 'json'),
  )
  assert.ok(Array.isArray(report))
  return report.flatMap(({ image, snapshot }) => (snapshot === undefined ? [] : `${image}@${snapshot}`))
}

async function imagesIn(namespace: string): Promise<number> {
  return (await ceph.tool('rbd', 'ls', `rbd/${namespace}`)).trim().split('\n').filter(Boolean).length
}

test('snapshots of a VM with disks on Ceph are taken at one instant, deleted from the middle and gone back to', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  await openCephPool(world, ceph, 'snapshots')
  const vm = await world.bootTiny('web1', { disks: [...disks], nics: [] })
  const snapshots = snapshotsOf(world, vm)

  for (const [place, word] of ['one', 'two', 'three'].entries()) {
    await write(vm, word)
    await write(vm, word, place + 1)
    const made = await snapshots.create(word, { quiesce: word === 'two', memory: word === 'three' })
    t.diagnostic(`Snapshot ${word}: waited ${made.pauseMs} ms, ${made.sizeBytes} bytes.`)
    assert.ok(
      made.disks.every(({ allocatedBytes = 0 }) => allocatedBytes > 0),
      'Each layer holds something.',
    )
  }
  await write(vm, 'now')
  assert.deepEqual(await leftOnCeph('snapshots'), [])

  await snapshots.delete('two')
  assert.equal(await read(vm), thrice('now'))
  assert.equal(await read(vm, 2), thrice('two'))
  await snapshots.revert('one')
  await vm.waitForLogin(2)
  assert.equal(await read(vm), thrice('one'))
  assert.equal(await read(vm, 2), '')
  await snapshots.revert('three')
  await eventually(async () => ((await vm.show()).status.state === 'running' ? true : undefined), {
    withinMs: 60_000,
    what: 'the guest goes on with its memory',
  })
  assert.equal(await read(vm), thrice('three'))

  await vm.powerOff()
  await snapshots.create('off')
  for (const name of ['one', 'three', 'off']) await snapshots.delete(name)
  assert.equal(await imagesIn('snapshots'), 2)
  await vm.delete({ disks: true })
  await assertEmpty(ceph, 'snapshots')
})

test('a snapshot on Ceph that was broken off has happened whole or not at all', { skip }, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  await openCephPool(world, ceph, 'broken')
  const vm = await world.bootTiny('web1', { disks: [...disks], nics: [] })
  const snapshots = snapshotsOf(world, vm)
  const steps = [
    ['snapshot.create.before-switch', false],
    ['snapshot.create.after-moment', true],
    ['snapshot.create.after-switch', true],
  ] as const

  for (const [point, isTaken] of steps) {
    const name = point.split('.').at(-1) ?? ''
    await write(vm, name)
    await failpoints.arm(point, 'exit')
    await snapshots.create(name).catch(() => {})
    await world.daemon.exited
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)
    await eventually(
      async () => ((await snapshots.list()).every(({ state }) => state === 'ready') ? true : undefined),
      {
        withinMs: 60_000,
        what: 'the snapshot is settled',
      },
    )
    assert.equal(
      (await snapshots.list()).some((one) => one.name === name),
      isTaken,
      point,
    )
    assert.deepEqual(await leftOnCeph('broken'), [], point)
    assert.equal(await read(vm), thrice(name))
  }
  await vm.powerOff()
  await vm.delete({ disks: true })
  await assertEmpty(ceph, 'broken')
})
