/** A network of which the rules cannot be read, for want of nft: the rest of it is shown as it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** It is looked at every second, and waits a second before it is tried again. */
const patienceMs = 15_000
const lan = { params: { network: 'lan' } }

test('a network whose rules cannot be read after a restart says which dnsmasq serves it, and when that ends', async () => {
  await using first = await openSimulatedDaemon()
  const { dnsmasqPid } = await first.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
  first.machine.hasNft = false
  await using world = await first.killAndFollow()
  const [there] = world.machine.networks.values()
  assert.ok(there && dnsmasqPid)

  await until(
    async () => (await world.call('getNetwork', lan)).dnsmasqPid === dnsmasqPid,
    'the dnsmasq that runs is shown',
  )
  const { state, findings } = await world.call('getNetwork', lan)
  const gone = [{ thing: 'dnsmasq' as const, detail: 'No dnsmasq serves it.' }]
  world.machine.networks.set(there.network.id, { ...there, findings: gone })

  assert.deepEqual([state, findings.map(({ thing }) => thing)], ['failed', ['firewall']])
  await until(
    async () => (await world.call('getNetwork', lan)).dnsmasqPid === undefined,
    'the dnsmasq that ended is not shown',
  )
})

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
