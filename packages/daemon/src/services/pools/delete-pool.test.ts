/** A pool that is deleted while something in it is, or was to be, imported. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import type { Failpoints } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const path = '/srv/fast'
const fast = { params: { pool: 'fast' } }
const body = { name: 'old', file: 'other.img', format: 'raw' as const, force: true }

async function openWorld(failpoint: Failpoints): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ failpoint })
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path }) })
  const there = { capacityBytes: 2 ** 30, allocatedBytes: 1, basePath: undefined, folder: path }
  world.machine.volumes.set('other', { ...there, file: 'other.img' })
  return world
}

const take = (world: SimulatedDaemon) => world.call('importVolume', { ...fast, body })
const remove = (world: SimulatedDaemon, data: 'keep' | 'remove') =>
  world.call('deletePool', { ...fast, query: { data } })

/** A file that an import has taken and could not give back, since its pool hung. */
async function openLeft(): Promise<SimulatedDaemon> {
  const world = await openWorld(async (name) => {
    if (name !== 'volume.import.after-take') return
    world.machine.hungFolders.add(path)
    throw new Error('broken off')
  })
  await assert.rejects(take(world), /broken off/)
  assert.ok(!world.machine.volumes.has('other'))
  return world
}

for (const data of ['keep', 'remove'] as const)
  test(`what was left of an import is given back before its pool goes, when what lies there is to ${data === 'keep' ? 'stay' : 'go'}`, async () => {
    await using world = await openLeft()
    world.machine.hungFolders.clear()
    await world.ports.pools.of(rowOf(world)).inspect() // It answers, and nobody has looked what is left in it.

    await remove(world, data)

    assert.ok(world.machine.volumes.has('other'))
    assert.equal(world.ports.store.pools.findByName('fast'), undefined)
  })

test('a pool whose place is gone for good goes with what could not be given back, if its data is kept', async () => {
  await using world = await openLeft()

  await assert.rejects(remove(world, 'remove'), { code: 'pool-unreachable' })
  await remove(world, 'keep')

  assert.equal(world.ports.store.pools.findByName('fast'), undefined)
})

test('a pool is not deleted while something in it is imported, also when that began after the deletion', async () => {
  const { promise: isTaken, resolve: arrive } = Promise.withResolvers<void>()
  const { promise: end, reject: fail } = Promise.withResolvers<void>()
  let importing: Promise<unknown> | undefined
  await using world = await openWorld(async (name) => {
    if (name === 'pool.delete.before-phase' && !importing) {
      importing = take(world)
      await isTaken
    }
    if (name !== 'volume.import.after-take') return
    arrive()
    await end
  })
  const busy = {
    code: 'busy',
    message: 'The file other.img of pool fast is being imported, so the pool is not deleted.',
  }

  await assert.rejects(remove(world, 'remove'), busy)
  await assert.rejects(remove(world, 'keep'), busy)

  assert.equal(rowOf(world).phase, 'ready')
  fail(new Error('broken off'))
  await assert.rejects(importing ?? Promise.resolve(), /broken off/)
  assert.ok(world.machine.volumes.has('other'))
  await remove(world, 'remove')
  assert.ok(world.machine.volumes.has('other'))
})

test('a deletion goes on with what the pool is by then, not with what it was when it began', async () => {
  await using world = await openWorld(async (name) => {
    if (name === 'pool.delete.before-phase')
      world.ports.store.pools.update({
        ...rowOf(world),
        taken: [{ file: 'other.img', before: ['former'] }],
      })
  })

  await remove(world, 'keep')

  assert.ok(world.machine.volumes.has('former'))
})

function rowOf(world: SimulatedDaemon) {
  const row = world.ports.store.pools.findByName('fast')
  if (!row) throw new Error('There is no pool.')
  return row
}
