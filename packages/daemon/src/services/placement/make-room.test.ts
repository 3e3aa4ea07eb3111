/** The simulated host has 2 nodes of 2 cores with 2 threads: 0+4, 1+5 and 2+6, 3+7. Dedicated VMs get 1+5 and 3+7 first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const two = (placement: 'pack' | 'dedicated') => ({ cpu: { count: 2, placement } })

/** The CPUs of a VM's vCPUs, as the simulated kernel has them. */
async function cpusOf(world: SimulatedDaemon, name: string): Promise<readonly string[]> {
  const statistics = await world.daemon.supervisor.find(name).view().emulator?.statistics()
  return [...new Set(statistics?.vcpus.map(({ cpus }) => cpus))]
}

/** A packed VM on the last cores that a dedicated one could have. */
async function crowdedWorld(placementMoves: 'none' | 'shared' | 'all'): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ placementMoves })
  await world.createVm('web', two('pack'))
  await world.createVm('db1', two('dedicated'))
  await world.createVm('db2', two('dedicated'))
  for (const name of ['web', 'db1']) assert.equal((await world.start(name)).state, 'succeeded')
  return world
}

test('a VM that shares CPUs is moved within its node for a dedicated one, where that is allowed', async () => {
  await using world = await crowdedWorld('shared')
  const before = await cpusOf(world, 'web')

  const planned = await world.call('placeVm', { params: { name: 'db2' }, query: { anew: false } })
  const job = await world.start('db2')

  assert.equal(job.state, 'succeeded')
  const after = await cpusOf(world, 'web')
  assert.deepEqual(
    planned.moves?.map(({ vm, to }) => [vm, to.join()]),
    [['web', after.join()]],
  )
  assert.notDeepEqual(after, before)
  const own = await cpusOf(world, 'db2')
  assert.deepEqual(own.toSorted(), before.flatMap((list) => list.split(',')).toSorted())
  const { plan } = await world.call('placeVm', { params: { name: 'web' }, query: { anew: false } })
  assert.match(plan?.steps[0] ?? '', /^It was moved while it ran, to make room for VM db2\.$/)
  await using next = await world.killAndFollow()
  assert.deepEqual(await cpusOf(next, 'web'), after)
})

test('nobody is moved unless the configuration says so', async () => {
  await using world = await crowdedWorld('none')
  const before = await cpusOf(world, 'web')

  const planned = await world.call('placeVm', { params: { name: 'db2' }, query: { anew: false } })
  const job = await world.start('db2')

  assert.deepEqual([planned.state, planned.moves, job.state], ['refused', undefined, 'failed'])
  assert.deepEqual(await cpusOf(world, 'web'), before)
})
