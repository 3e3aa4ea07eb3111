/** The network `default`: the first start makes it beside what the host has, and nobody who deleted it gets it again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { openNetworkRoom, outside } from '../machine/network-room.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const environment = { KVASIR_DEFAULT_NETWORK: 'create' }
const withinMs = 30_000

test('the first start that can makes the network default on a free subnet, once', { skip }, async (t) => {
  await using room = await openNetworkRoom()
  await room.host.run('ip', 'route', 'add', '192.168.150.0/23', 'via', outside.world)
  const bare = await room.hostState()
  await using world = await openWorld(t, {
    network: room.host.path,
    environment: { ...environment, KVASIR_FAILPOINT: 'network.create.after-raise:throw' },
  })
  const networks = () => world.client.call(endpoints.listNetworks)
  const restart = async () => {
    await world.daemon.stop()
    await world.startDaemon(environment)
  }

  const said = async () => (world.daemonLog().includes('the network default was not made') ? true : undefined)
  await eventually(said, { withinMs, what: 'the daemon says that it could not make the network' })
  assert.deepEqual(await networks(), [], 'A daemon that could not make it serves all the same.')
  assert.equal(await room.hostState(), bare)

  await restart()
  const made = await eventually(async () => (await networks())[0], { withinMs, what: 'the network is there' })
  assert.deepEqual(
    [made.name, made.mode, made.state, made.ipv4?.subnet],
    ['default', 'nat', 'active', '192.168.152.0/24'],
  )
  const guest = await room.addGuest(made.bridge, { mac: '52:54:00:00:00:01' })
  assert.match(await room.lease(guest, 'web1'), /^lease 192\.168\.152\.\d+\/24 /)
  await restart()
  assert.deepEqual(
    (await networks()).map(({ id }) => id),
    [made.id],
  )

  await room.host.run('ip', 'link', 'delete', 'guest0')
  await world.client.call(endpoints.deleteNetwork, { params: { network: 'default' } })
  await restart()
  await world.client.call(endpoints.createNetwork, {
    body: { name: 'last', ipv4: { subnet: '10.9.0.0/24' } },
  })
  await world.client.call(endpoints.deleteNetwork, { params: { network: 'last' } })
  assert.deepEqual(await networks(), [], 'Deleted, it is not made again.')
  assert.equal(await room.hostState(), bare)
})
