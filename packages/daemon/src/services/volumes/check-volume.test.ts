/** Checking and repairing volumes, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newVolume } from '@kvasir/contract'
import type { SimulatedVolume } from '../../simulated/machine.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const data = { pool: 'default', volume: 'data' }

async function openWithVolume(format: 'raw' | 'qcow2' = 'qcow2'): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  const body = newVolume.parse({ name: 'data', size: 2 ** 30, format })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  return world
}

type Damage = NonNullable<SimulatedVolume['damage']>

function damage(world: SimulatedDaemon, found: Damage) {
  for (const [id, volume] of world.machine.volumes)
    world.machine.volumes.set(id, { ...volume, damage: found })
}

const check = (world: SimulatedDaemon) => world.call('checkVolume', { params: data, query: { wait: 10 } })
const repair = (world: SimulatedDaemon) => world.call('repairVolume', { params: data, query: { wait: 10 } })

test('a check that finds damage fails and says what it found; after a repair it finds none', async () => {
  await using world = await openWithVolume()
  damage(world, { leaks: 3, corruptions: 1 })

  const found = await check(world)
  const repaired = await repair(world)
  const after = await check(world)

  assert.deepEqual([found.state, found.error?.code], ['failed', 'volume-damaged'])
  assert.deepEqual([found.check?.leaks, found.check?.corruptions], [3, 1])
  assert.equal(repaired.state, 'succeeded')
  assert.equal(repaired.outcome, '1 corruption repaired, 3 leaked clusters given back.')
  assert.equal(after.outcome, 'Nothing is wrong with it.')
})

test('a volume that lost its table of clusters is not repaired, and no check calls it sound: only a backup helps', async () => {
  await using world = await openWithVolume()
  damage(world, { leaks: 0, corruptions: 0, behindEnd: 'clusters' })

  const refused = await repair(world)
  const found = await check(world)

  for (const job of [refused, found]) {
    assert.deepEqual([job.state, job.error?.code], ['failed', 'volume-damaged'])
    assert.match(
      job.error?.detail ?? '',
      /ends before its table of .* Restore it from a backup or another copy/,
    )
  }
  assert.equal(refused.check, undefined)
  assert.match(refused.error?.detail ?? '', /so it is left as it is/)
  assert.match(found.outcome ?? '', /^It ends before its table of/)
  assert.deepEqual(
    [...world.machine.volumes.values()].map((one) => one.damage?.behindEnd),
    ['clusters'],
  )
  assert.deepEqual(
    world.daemon.context.ports.store.volumes.list().map(({ work }) => work),
    [undefined],
  )
})

test('a volume that lost another table fails a check and is mended by a repair', async () => {
  for (const behindEnd of ['refcounts', 'snapshots'] as const) {
    await using world = await openWithVolume()
    damage(world, { leaks: 0, corruptions: 1, behindEnd })

    const found = await check(world)
    const mended = await repair(world)
    const after = await check(world)

    assert.deepEqual([found.state, found.error?.code], ['failed', 'volume-damaged'])
    assert.match(
      found.error?.detail ?? '',
      /ends before its table of .* Repair it with: kvasir volume repair$/,
    )
    assert.deepEqual([mended.state, after.state], ['succeeded', 'succeeded'])
    assert.equal(after.outcome, 'Nothing is wrong with it.')
  }
})

test('leaked clusters cost space and no data, so the volume is sound', async () => {
  await using world = await openWithVolume()
  damage(world, { leaks: 3, corruptions: 0 })

  const found = await check(world)

  assert.deepEqual([found.state, found.outcome], ['succeeded', '3 leaked clusters left.'])
})

test('a raw volume has nothing to check', async () => {
  await using world = await openWithVolume('raw')

  for (const job of [await check(world), await repair(world)]) {
    assert.equal(job.state, 'succeeded')
    assert.match(job.outcome ?? '', /nothing to check/)
  }
})

test('a volume of a VM that runs is neither checked nor repaired, and the VM is named', async () => {
  await using world = await openWithVolume()
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })
  await world.start('web1')

  for (const job of [await check(world), await repair(world)]) {
    assert.equal(job.error?.code, 'in-use')
    assert.match(job.error?.detail ?? '', /VM web1/)
  }
  await world.call('powerOffVm', { params: { name: 'web1' } })
  assert.equal((await check(world)).state, 'succeeded')
})
