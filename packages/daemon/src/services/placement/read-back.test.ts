/** A stored placement that this version cannot read, as one that a later version wrote. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openStore } from '../../store/open-store.ts'
import { sampleRoomBytes } from '../../store/testing/records.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const dedicated = { cpu: { count: 2, placement: 'dedicated' as const } }

/** Writes the placement of each VM down in words that nobody knows. */
function damagePlacements({ storePath, machine }: SimulatedDaemon): void {
  const store = openStore({ path: storePath, now: () => machine.clock.now(), roomBytes: sampleRoomBytes })
  for (const row of store.vms.list()) {
    assert.ok(row.kind === 'vm', JSON.stringify(row))
    const { placement } = row.record
    const later: object = { ...placement, plan: { ...placement?.plan, placement: 'nearby' } }
    store.vms.update({ ...row.record, placement: later as typeof placement }) // What no version of today writes.
  }
  store.close()
}

async function eventsOf(world: SimulatedDaemon, kind: string) {
  const events = await world.call('listEvents', { query: { after: 0, limit: 1000 } })
  return events.filter((event) => event.kind === kind)
}

const cpusOf = async (world: SimulatedDaemon, name: string) => {
  const { plan } = await world.call('placeVm', { params: { name }, query: { anew: false } })
  return plan?.threads.vcpus.flatMap(({ cpus }) => cpus) ?? []
}

test('a VM that runs goes on holding the CPUs that its threads are on, and somebody hears of it', async () => {
  await using first = await openSimulatedDaemon()
  await first.createVm('db1', dedicated)
  await first.createVm('db2', dedicated)
  await first.createVm('db3', dedicated)
  await first.start('db1')
  const before = await cpusOf(first, 'db1')
  const planned = first.process('db1').threadPlan?.layout.vcpus
  damagePlacements(first)

  await using second = await first.killAndFollow()
  const [next, last] = [await second.start('db2'), await second.start('db3')]

  assert.deepEqual(await cpusOf(second, 'db1'), before)
  assert.deepEqual(second.process('db1').threadPlan?.layout.vcpus, planned)
  assert.match(
    (await second.vm('db1')).status.placement ?? '',
    /^dedicated: 2 vCPUs on .*read back from its threads/,
  )
  assert.deepEqual([next.state, last.error?.code], ['succeeded', 'not-enough-cpus'])
  const both = [...before, ...(await cpusOf(second, 'db2'))]
  assert.equal(new Set(both).size, both.length, both.join())
  const told = (await eventsOf(second, 'vm.placement-lost')).find(({ subject }) => subject === 'db1')
  assert.match(String(told?.data['reason']), /does not fit at plan\.placement/)
  assert.match(String(told?.data['readBack']), /^dedicated: 2 vCPUs/)
})

test('while its emulator does not answer, nobody gets CPUs for himself', async () => {
  await using first = await openSimulatedDaemon()
  await first.createVm('db1', dedicated)
  await first.createVm('db2', dedicated)
  await first.start('db1')
  damagePlacements(first)
  const process = first.process('db1')
  process.goesMute()

  await using second = await first.killAndFollow()
  const refused = await second.start('db2')
  const where = await second.call('placeVm', { params: { name: 'db1' }, query: { anew: false } })
  process.speaksAgain()
  second.skip(60_000)

  assert.equal(refused.error?.code, 'not-enough-cpus')
  assert.match(refused.error?.detail ?? '', /VM db1 has .* for itself/)
  assert.match(where.reason, /does not fit at plan\.placement/)
})

test('a VM that is off is planned anew, and somebody hears of that too', async () => {
  await using first = await openSimulatedDaemon()
  await first.createVm('db1', dedicated)
  await first.start('db1')
  await first.call('powerOffVm', { params: { name: 'db1' } })
  damagePlacements(first)

  await using second = await first.killAndFollow()

  assert.equal((await eventsOf(second, 'vm.placement-lost')).length, 1)
  assert.equal((await second.start('db1')).state, 'succeeded')
  assert.equal((await cpusOf(second, 'db1')).length, 2)
})
