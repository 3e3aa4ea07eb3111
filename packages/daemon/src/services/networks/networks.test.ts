/** Networks as a resource, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewNetworkInput, newNetwork, type VmSpecInput, vmSpec } from '@kvasir/contract'
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

test('what is lost of a network is made again, and the network says what that was', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  const [there] = world.machine.networks.values()
  assert.ok(there)
  const findings = [{ thing: 'dnsmasq' as const, detail: 'It is gone.' }]

  world.machine.networks.set(there.network.id, { ...there, findings })

  await until(async () => (await world.call('getNetwork', lan)).repairs.length > 0, 'it is made again')
  const { repairs, findings: left, state } = await world.call('getNetwork', lan)
  assert.deepEqual([repairs.map(({ detail }) => detail), left, state], [['It is gone.'], [], 'active'])
})

test('a network that cannot be made again says what is amiss with it', async () => {
  await using world = await openSimulatedDaemon()
  const made = await create(world)
  const [there] = world.machine.networks.values()
  assert.ok(there)
  const findings = [
    { thing: 'bridge' as const, detail: 'The bridge is gone.' },
    { thing: 'dnsmasq' as const, detail: 'No dnsmasq serves it.' },
  ]
  assert.ok(made.dnsmasqPid)
  world.machine.hostNetwork = {
    links: [],
    addresses: [],
    routes: [{ link: 'wg0', to: made.ipv4?.subnet ?? '' }],
  }

  world.machine.networks.set(there.network.id, { ...there, findings })

  await until(
    async () => (await world.call('getNetwork', lan)).state === 'failed',
    'the state of a network that collides',
  )
  const { reason, findings: told, repairs, dnsmasqPid } = await world.call('getNetwork', lan)
  assert.match(reason, /collides with the host's route/)
  assert.deepEqual([told, repairs, dnsmasqPid], [findings, [], undefined])
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

test('a NIC is on a network that there is, and has there what that network has', async () => {
  await using world = await openSimulatedDaemon()
  const refused = (nic: object, message: RegExp) =>
    assert.rejects(world.createVm('web1', { nics: [{ name: 'net0', network: 'lan', ...nic }] }), { message })
  await assert.rejects(world.createVm('web1', { nics: [{ name: 'net0', network: 'lan' }] }), {
    code: 'network-not-found',
  })
  for (const nic of [
    { name: 'net0', mode: 'network' },
    { name: 'net0', address: '10.9.0.9' },
  ])
    assert.equal(vmSpec.safeParse({ nics: [nic] }).success, false)

  const reservations = [{ mac: '52:54:00:00:00:09', address: '10.9.0.9' }]
  await create(world, { ipv4: { subnet: '10.9.0.0/24' }, reservations })
  await create(world, { name: 'cell', mode: 'isolated' })
  const forwards = [{ hostPort: 2222, guestPort: 22 }]

  await refused({ network: 'cell', forwards }, /mode nat/)
  await refused({ forwards: [{ ...forwards[0], hostAddress: '::1' }] }, /IPv4 alone/)
  await refused({ forwards: [...forwards, { ...forwards[0], hostAddress: '0.0.0.0' }] }, /twice/)
  for (const address of ['10.9.0.0', '10.9.0.1', '10.9.0.255', '10.9.1.2'])
    await refused({ address }, /no guest's on network lan/)
  await refused({ address: '10.9.0.9' }, /^The NIC with the MAC address 52:54:00:00:00:09 has the address/)
})

test('a NIC with forwards has one address for good, which nobody else gets', async () => {
  await using world = await openSimulatedDaemon()
  await create(world, { ipv4: { subnet: '10.9.0.0/29' } })
  const nic = { name: 'net0', network: 'lan' }
  const forwarded = (hostPort: number) => ({ nics: [{ ...nic, forwards: [{ hostPort, guestPort: 80 }] }] })
  const addressOf = async (name: string) => (await world.vm(name)).spec.nics[0]?.address

  for (let number = 0; number < 5; number++) await world.createVm(`web${number}`, forwarded(8000 + number))

  const addresses = await Promise.all([0, 1, 2, 3, 4].map((number) => addressOf(`web${number}`)))
  assert.deepEqual(new Set(addresses), new Set([2, 3, 4, 5, 6].map((last) => `10.9.0.${last}`)))
  await assert.rejects(world.createVm('web5', forwarded(9000)), {
    message: /^Every address that network lan/,
  })
  const spec = vmSpec.parse(forwarded(9000))
  await world.call('applyVm', { params: { name: 'web0' }, body: { spec } })
  assert.equal(await addressOf('web0'), addresses[0])
  await world.createVm('plain', { nics: [nic] })
  assert.equal(await addressOf('plain'), undefined)
})

test('a port of the host leads to one VM that runs, and a refusal names who has it', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  const forward = (hostPort: number, more = {}) => [{ hostPort, guestPort: 80, ...more }]
  const lanNic = (forwards: object) => ({ nics: [{ name: 'net0', network: 'lan', forwards }] }) as VmSpecInput
  await world.createVm('web1', lanNic(forward(8080)))
  await world.createVm('web2', lanNic(forward(8080, { hostAddress: '0.0.0.0' })))
  await world.createVm('web3', { nics: [{ name: 'net0', forwards: forward(8080) }] })
  const wires = () => [...world.machine.networks.values()].flatMap((network) => network.wires)

  assert.equal((await world.start('web1')).error, undefined)

  assert.deepEqual(
    wires().map(({ vm, forwards }) => [vm, forwards[0]?.hostPort]),
    [['web1', 8080]],
  )
  for (const name of ['web2', 'web3']) {
    const { error } = await world.start(name)
    assert.equal(error?.code, 'in-use')
    assert.match(error.detail, /^NIC net0 of VM web1 has port 8080 of tcp on the host already/)
  }
  world.machine.listeners = [{ protocol: 'tcp', address: '::', port: 8081, program: 'nginx (pid 7)' }]
  const to = (forwards: object) => ({
    params: { name: 'web1' },
    body: { spec: vmSpec.parse(lanNic(forwards)) },
  })
  await assert.rejects(world.call('applyVm', to(forward(8081))), {
    message: /^The program nginx \(pid 7\) has port 8081/,
  })
  const plan = await world.call('planVm', to(forward(8082)))
  assert.deepEqual(
    plan.changes.map(({ field, effect }) => [field, effect]),
    [['nics.net0.forwards', 'live']],
  )
  await world.call('applyVm', to(forward(8082)))
  assert.equal(wires()[0]?.forwards[0]?.hostPort, 8082)
  assert.equal((await world.start('web2')).error, undefined)
  await world.call('powerOffVm', { params: { name: 'web1' } })
  await until(() => wires().length === 1, 'the forward of a VM that is off goes')
})

test('a start has the rules of its NICs put, and all of a network made again that lacks more', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  const there = () => [...world.machine.networks.values()][0]
  await world.createVm('web1', { nics: [{ name: 'net0', network: 'lan', antiSpoof: true }] })
  await until(() => there()?.guests.length === 1, 'the network knows its guest')
  const { guests } = there() ?? {}

  await world.start('web1')

  const wires = () => there()?.wires.map(({ vm, antiSpoof }) => [vm, antiSpoof])
  assert.deepEqual(wires(), [['web1', true]])
  assert.equal(there()?.guests, guests, 'DHCP and DNS were told nothing.')
  await world.createVm('web2', { nics: [{ name: 'net0', network: 'lan', isolated: true }] })
  await world.start('web2')
  assert.equal(there()?.guests.length, 2)
  assert.equal(wires()?.length, 2)
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
  const body = { spec: vmSpec.parse({ nics: [on('lan')] }) }
  const params = { name: 'web2' }
  await assert.rejects(world.call('applyVm', { params, body }), { code: 'in-use' })
})

test('of VMs that are created at the same time with one MAC address, one is', async () => {
  await using world = await openSimulatedDaemon()
  await create(world)
  const nics = [{ name: 'net0', network: 'lan', mac: '52:54:00:00:00:01' }]

  const tried = await Promise.allSettled(['a', 'b', 'c'].map((name) => world.createVm(name, { nics })))

  assert.equal(tried.filter(({ status }) => status === 'fulfilled').length, 1)
  assert.equal((await world.call('listVms', {})).length, 1)
})

/** Waits for what follows when networks are looked at. */
async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, `In vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
