/** What the rules of a network dropped of a NIC, in the status of its VM. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** A network is looked at every second, its rules every few. */
const patienceMs = 15_000

test('a NIC that is guarded shows what its guard dropped, and one that nothing guards shows nothing', async () => {
  await using world = await openSimulatedDaemon()
  await world.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
  const guarded = { name: 'net0', network: 'lan', antiSpoof: true }
  await world.createVm('web1', { nics: [guarded, { name: 'net1', network: 'lan' }] })
  await world.start('web1')
  const [there] = world.machine.networks.values()
  const tap = there?.wires.find(({ nic }) => nic === 'net0')?.tap
  assert.ok(there)

  const ruleCounts = new Map([[`${tap}_drop`, { packets: 3, bytes: 180 }]])
  world.machine.networks.set(there.network.id, { ...there, ruleCounts })

  const deadline = performance.now() + patienceMs
  const shown = async () => (await world.vm('web1')).status.nics?.map(({ ruleDrops }) => ruleDrops)
  while ((await shown())?.[0] === undefined) {
    assert.ok(performance.now() < deadline, 'The drops are shown.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.deepEqual(await shown(), [{ guard: 3, limit: 0, isolation: 0 }, undefined])
})
