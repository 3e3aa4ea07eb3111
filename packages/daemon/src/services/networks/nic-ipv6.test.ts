/** Addresses of IPv6 that NICs name, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mac = '52:54:00:00:00:01'
const nic = { name: 'net0', network: 'lan', mac }

async function openWithLan(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.call('createNetwork', {
    body: newNetwork.parse({
      name: 'lan',
      ipv4: { subnet: '10.9.0.0/24' },
      ipv6: { subnet: 'fd09::/64' },
      reservations: [{ mac: '52:54:00:00:00:09', ipv6: 'fd09::9' }],
    }),
  })
  return world
}

test('a NIC names an address of IPv6 that is a guest’s on its network, and nobody else’s', async () => {
  await using world = await openWithLan()
  const refused = (ipv6: string, message: RegExp, more: object = {}) =>
    assert.rejects(world.createVm('web2', { nics: [{ ...nic, mac: undefined, ipv6, ...more }] }), { message })
  await world.call('createNetwork', { body: newNetwork.parse({ name: 'old', ipv4: {} }) })
  await world.createVm('web1', { nics: [{ ...nic, ipv6: 'FD09:0::A' }] })

  assert.equal((await world.vm('web1')).spec.nics[0]?.ipv6, 'fd09::a', 'It has one form.')
  for (const ipv6 of ['fd09::', 'fd09::1', 'fd0a::2', 'fd09::ffff:ffff:ffff:ffff'])
    await refused(ipv6, /^NIC net0 of VM web2 has the address \S+, which is no guest's on network lan \(fd09/)
  await refused('fd09::2', /no guest's on network old, /, { network: 'old' })
  await refused('fd09::9', /^The NIC with the MAC address 52:54:00:00:00:09 has the address fd09::9 /)
  await refused('fd09::a', /^NIC net0 of VM web1 has the address fd09::a on network lan/)
  await refused('fd09::b', /network lan reserves fd09::9 for it/, { mac: '52:54:00:00:00:09' })
  for (const wrong of [
    { name: 'net0', ipv6: 'fd09::b' },
    { ...nic, ipv6: 'fd09::%eth0' },
    { ...nic, ipv6: '10.9.0.2' },
  ])
    assert.equal(vmSpec.safeParse({ nics: [wrong] }).success, false)
})

test('the address of IPv6 of a NIC changes and goes live, and its network knows of each', async () => {
  await using world = await openWithLan()
  await world.createVm('web1', { nics: [{ ...nic, antiSpoof: true, ipv6: 'fd09::a' }] })
  await world.start('web1')
  const [there] = world.machine.networks.values()
  const known = () => [...world.machine.networks.values()].flatMap(({ wires }) => wires.map((it) => it.ipv6))
  const spec = (more: object) => vmSpec.parse({ nics: [{ ...nic, antiSpoof: true, ...more }] })
  const params = { name: 'web1' }

  const before = [known(), there?.guests.map(({ ipv6 }) => ipv6)]
  const plan = await world.call('planVm', { params, body: { spec: spec({ ipv6: 'fd09::b' }) } })
  await world.call('applyVm', { params, body: { spec: spec({ ipv6: 'fd09::b' }) } })
  const changed = known()
  await world.call('applyVm', { params, body: { spec: spec({}) } })

  assert.deepEqual(before, [['fd09::a'], ['fd09::a']])
  assert.deepEqual(
    plan.changes.map(({ field, effect }) => [field, effect]),
    [['nics.net0.ipv6', 'live']],
  )
  assert.deepEqual([changed, known()], [['fd09::b'], [undefined]])
  await world.call('powerOffVm', { params })
  await world.call('deleteVm', { params, query: { disks: true } })
})
