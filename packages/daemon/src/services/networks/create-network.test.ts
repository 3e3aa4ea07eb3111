/** Networks whose creation failed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

function create(world: SimulatedDaemon) {
  return world.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
}

test('a network that could be neither made nor taken back, for want of nft, is made when that is there', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.hasNft = false
  await assert.rejects(create(world))
  await assert.rejects(create(world), {
    code: 'unsupported',
    message: /^nft of the package nftables is not installed/,
  })
  assert.deepEqual(await world.call('listNetworks', {}), [])

  world.machine.hasNft = true

  const subnet = '10.9.0.0/24'
  const other = newNetwork.parse({ name: 'other', ipv4: { subnet } })
  assert.equal((await world.call('createNetwork', { body: other })).ipv4?.subnet, subnet)
  assert.equal((await create(world)).state, 'active')
})
