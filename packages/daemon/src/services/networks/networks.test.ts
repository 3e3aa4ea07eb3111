/** Networks as a resource, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewNetworkInput, newNetwork, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** It is looked at every second. */
const patienceMs = 15_000

const lan = { params: { network: 'lan' } }

function create(world: SimulatedDaemon, wanted: Partial<NewNetworkInput> = {}) {
  return world.call('createNetwork', { body: newNetwork.parse({ name: 'lan', ...wanted }) })
}

test('a network is there as soon as it is created, and gone when it is stopped', async () => {
  await using world = await openSimulatedDaemon()

  const made = await create(world)

  assert.equal(made.state, 'active')
  assert.equal(world.machine.networks.size, 1)
  assert.equal((await world.call('stopNetwork', lan)).state, 'inactive')
  assert.equal(world.machine.networks.size, 0)
  assert.equal((await world.call('startNetwork', lan)).state, 'active')
  await world.call('deleteNetwork', lan)
  assert.equal(world.machine.networks.size, 0)
  await assert.rejects(world.call('getNetwork', lan), { code: 'network-not-found' })
})

test('two networks never have one name, one subnet or one bridge', async () => {
  await using world = await openSimulatedDaemon()
  const [first, second] = await Promise.all([create(world), create(world, { name: 'lan2' })])

  assert.notEqual(first.ipv4?.subnet, second.ipv4?.subnet)
  await assert.rejects(create(world), { code: 'name-taken' })
  await assert.rejects(create(world, { name: 'lan3', bridge: first.bridge }), { code: 'network-refused' })
})

test('a link of the host is nobody’s bridge', async () => {
  await using world = await openSimulatedDaemon()
  const link = { name: 'br0', kind: 'bridge', mac: undefined, mtu: 1500, bridge: undefined }
  world.machine.hostNetwork = { links: [link], addresses: [], routes: [] }

  await assert.rejects(create(world, { bridge: 'br0' }), { code: 'network-refused' })
  assert.deepEqual(await world.call('listNetworks', {}), [])
})

test('the next daemon takes over what is started, and leaves off what is stopped', async () => {
  await using first = await openSimulatedDaemon()
  await create(first)
  await create(first, { name: 'off' })
  await first.call('stopNetwork', { params: { network: 'off' } })
  first.machine.networks.clear() // As if the host had lost it meanwhile.

  await using next = await first.killAndFollow()

  assert.equal((await next.call('getNetwork', lan)).state, 'active')
  assert.equal((await next.call('getNetwork', { params: { network: 'off' } })).state, 'inactive')
  assert.equal(next.machine.networks.size, 1)
})

test('a network whose subnet the host has come to meanwhile is not started', async () => {
  await using world = await openSimulatedDaemon()
  const made = await create(world)
  await world.call('stopNetwork', lan)
  const routes = [{ link: 'wg0', to: made.ipv4?.subnet ?? '' }]
  world.machine.hostNetwork = { links: [], addresses: [], routes }

  await assert.rejects(world.call('startNetwork', lan), { code: 'network-refused' })
  assert.equal((await world.call('getNetwork', lan)).state, 'inactive')
})

test('what is lost of a network is made again', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  const [there] = world.machine.networks.values()
  assert.ok(there)

  world.machine.networks.set(there.network.id, {
    ...there,
    findings: [{ thing: 'dnsmasq', detail: 'It is gone.' }],
  })

  const deadline = performance.now() + patienceMs
  while (world.machine.networks.get(there.network.id)?.findings.length !== 0) {
    assert.ok(performance.now() < deadline, 'It is not made again.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
})

test('a network with a VM that runs on it is not stopped, and one that a VM is to be on is not deleted', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  await world.createVm('web1', { nics: [{ name: 'net0', network: 'lan' }] })
  await world.start('web1')

  const { status, spec } = await world.vm('web1')
  assert.equal(spec.nics[0]?.mode, 'network')
  assert.equal(status.nics?.[0]?.network, 'lan')
  await assert.rejects(world.call('stopNetwork', lan), { code: 'in-use' })
  await world.call('powerOffVm', { params: { name: 'web1' } })
  await world.call('stopNetwork', lan)
  assert.equal((await world.start('web1')).error?.code, 'network-inactive')
  await assert.rejects(world.call('deleteNetwork', lan), { code: 'in-use' })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: true } })
  await world.call('deleteNetwork', lan)
})

test('a NIC is on a network that there is, and has no forwards there', async () => {
  await using world = await openSimulatedDaemon()

  await assert.rejects(world.createVm('web1', { nics: [{ name: 'net0', network: 'lan' }] }), {
    code: 'network-not-found',
  })
  const forwards = [{ hostPort: 2222, guestPort: 22 }]
  for (const nic of [
    { name: 'net0', network: 'lan', forwards },
    { name: 'net0', mode: 'network' },
  ])
    assert.equal(vmSpec.safeParse({ nics: [nic] }).success, false)
})

test('the names of VMs are those that DNS takes, each once', async () => {
  await using world = await openSimulatedDaemon()
  const nics = [{ name: 'net0', network: 'lan' }]
  await create(world)
  for (const name of ['Web_1', 'web-1', 'db']) await world.createVm(name, { nics })
  await world.call('stopNetwork', lan)

  await world.call('startNetwork', lan)

  const [there] = world.machine.networks.values()
  assert.deepEqual(there?.guests.map(({ name }) => name).toSorted(), ['db', 'web-1'])
})

test('two NICs on one network never have one MAC address, and a refusal names the holder', async () => {
  await using world = await openSimulatedDaemon()
  const mac = '52:54:00:00:00:01'
  const on = (network: string, name = 'net0') => ({ name, network, mac })
  const { bridge: _, mac: ofBridge } = await create(world)
  await create(world, { name: 'lan2' })
  await world.createVm('web1', { nics: [on('lan')] })

  await assert.rejects(world.createVm('web2', { nics: [on('lan')] }), {
    code: 'in-use',
    message: /^NIC net0 of VM web1 has the MAC address 52:54:00:00:00:01 on network lan, so /,
  })
  await assert.rejects(world.createVm('web2', { nics: [{ ...on('lan'), mac: ofBridge }] }), {
    code: 'in-use',
    message: /^The bridge of network lan /,
  })
  await assert.rejects(world.createVm('web2', { nics: [on('lan2'), on('lan2', 'net1')] }), {
    code: 'bad-request',
    message: /^NICs net0 and net1 of VM web2 /,
  })
  await world.createVm('web2', { nics: [on('lan2'), { name: 'net1', mac: '52:54:00:00:00:02' }] })
  const body = { name: 'web2', spec: vmSpec.parse({ nics: [on('lan')] }) }
  await assert.rejects(world.call('applyVm', { body }), { code: 'in-use' })
})

test('of VMs that are created at the same time with one MAC address, one is', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  const nics = [{ name: 'net0', network: 'lan', mac: '52:54:00:00:00:01' }]

  const tried = await Promise.allSettled(['a', 'b', 'c'].map((name) => world.createVm(name, { nics })))

  assert.equal(tried.filter(({ status }) => status === 'fulfilled').length, 1)
  assert.equal((await world.call('listVms', {})).length, 1)
})
