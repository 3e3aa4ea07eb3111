import assert from 'node:assert/strict'
import { test } from 'node:test'
import { host, hostTopology } from '@kvasir/contract'
import { SimulatedMachine } from './machine.ts'
import { SimulatedClock } from './simulated-clock.ts'
import { createSimulatedHostFacts } from './simulated-host-facts.ts'

test('a simulated host and its topology are those of the contract', async () => {
  const facts = createSimulatedHostFacts(new SimulatedMachine(new SimulatedClock()))

  const [described, topology] = [await facts.describe(), await facts.topology()]

  assert.deepEqual(host.parse(described), described)
  assert.deepEqual(hostTopology.parse(topology), topology)
  assert.equal(topology.cpus.length, described.cpu.count)
})
