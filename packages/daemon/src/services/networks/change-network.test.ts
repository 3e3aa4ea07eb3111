/** Changes of networks, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NetworkChangeInput, networkChange, newNetwork, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const lan = { params: { network: 'lan' } }

async function openWithLan(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.call('createNetwork', {
    body: newNetwork.parse({ name: 'lan', ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.254' } }),
  })
  return world
}

function change(world: SimulatedDaemon, body: NetworkChangeInput, { restart = false } = {}) {
  return world.call('changeNetwork', { ...lan, query: { restart }, body: networkChange.parse(body) })
}

async function effects(world: SimulatedDaemon, body: NetworkChangeInput): Promise<Record<string, string>> {
  const { changes } = await world.call('planNetwork', { ...lan, body: networkChange.parse(body) })
  return Object.fromEntries(changes.map(({ field, effect }) => [field, effect]))
}

test('the plan says of each field whether guests keep their network meanwhile', async () => {
  await using world = await openWithLan()

  assert.deepEqual(await effects(world, {}), {})
  assert.deepEqual(
    await effects(world, { domain: 'office.example', autostart: false, ipv4: { dhcp: false } }),
    { domain: 'live', autostart: 'live', 'ipv4.dhcp': 'live' },
  )
  assert.deepEqual(await effects(world, { mode: 'isolated', ipv4: { subnet: '10.8.0.0/24' } }), {
    mode: 'restart',
    'ipv4.subnet': 'restart',
    'ipv4.gateway': 'restart',
    'ipv4.dhcp': 'live',
  })
  await world.call('stopNetwork', lan)
  assert.deepEqual(await effects(world, { domain: 'office.example', mtu: 9000 }), {
    domain: 'next-start',
    mtu: 'next-start',
  })
})

test('what is not named stays, the gateway too while the subnet does', async () => {
  await using world = await openWithLan()

  const changed = await change(world, { ipv4: { dhcp: { first: '10.9.0.10', last: '10.9.0.20' } } })

  assert.equal(changed.ipv4?.gateway, '10.9.0.254')
  assert.equal(changed.domain, 'lan.internal')
  const [there] = world.machine.networks.values()
  assert.deepEqual(there?.network.ipv4?.dhcp, { first: '10.9.0.10', last: '10.9.0.20' })
  const moved = await change(world, { ipv4: { subnet: '10.8.0.0/24' } }, { restart: true })
  assert.equal(moved.ipv4?.gateway, '10.8.0.1')
})

test('what needs a restart is refused unless that is asked for, and while a VM runs there', async () => {
  await using world = await openWithLan()
  const spec = vmSpec.parse({ nics: [{ name: 'net0', network: 'lan' }] })
  await world.call('createVm', { body: { name: 'web1', spec, start: false } })

  await assert.rejects(change(world, { mtu: 9000 }), /has to be stopped and started for another mtu/)
  await world.call('startVm', { params: { name: 'web1' }, query: { wait: 10 } })
  await assert.rejects(change(world, { mtu: 9000 }, { restart: true }), { code: 'in-use' })
  assert.equal((await world.call('getNetwork', lan)).mtu, 1500)
  assert.equal((await change(world, { domain: 'office.example' })).domain, 'office.example')
})

test('a change that takes its place from a NIC or collides is refused in words', async () => {
  await using world = await openWithLan()
  const nics = [{ name: 'net0', network: 'lan', address: '10.9.0.7' }]
  await world.call('createVm', { body: { name: 'web1', spec: vmSpec.parse({ nics }), start: false } })
  world.machine.hostNetwork = {
    links: [],
    addresses: [{ link: 'eth0', address: '10.7.0.1/24' }],
    routes: [],
  }

  await assert.rejects(
    change(world, { ipv4: { subnet: '10.8.0.0/24' } }, { restart: true }),
    /NIC net0 of VM web1 .*10\.9\.0\.7/,
  )
  await assert.rejects(
    change(world, { ipv4: { subnet: '10.7.0.0/16' } }, { restart: true }),
    /collides with the address 10\.7\.0\.1\/24 of link eth0/,
  )
  await assert.rejects(change(world, { ipv4: false }), /neither IPv4 nor IPv6/)
  assert.equal((await world.call('getNetwork', lan)).ipv4?.subnet, '10.9.0.0/24')
})

test('a change that cannot be made on the host leaves the network as it was', async () => {
  await using world = await openWithLan()
  const { networks } = world.daemon.context.ports
  const made = { ...networks }
  const raise: typeof made.raise = async (network, options) => {
    if (network.domain === 'broken.example') throw new Error('The disk is full.')
    await made.raise(network, options)
  }
  Object.assign(networks, { raise })

  await assert.rejects(change(world, { domain: 'broken.example' }), /disk is full/)

  const shown = await world.call('getNetwork', lan)
  assert.deepEqual([shown.domain, shown.state], ['lan.internal', 'active'])
})
