/** Networks of mode macvtap, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewNetworkInput, networkChange, newNetwork, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const links = ['eth0', 'eth1'].map((name) => ({
  name,
  kind: undefined,
  mac: undefined,
  mtu: 9000,
  bridge: undefined,
}))

async function openWithLinks(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  world.machine.hostNetwork = { links, addresses: [], routes: [] }
  return world
}

function create(world: SimulatedDaemon, wanted: Partial<NewNetworkInput> = {}) {
  const body = newNetwork.parse({ name: 'lan', mode: 'macvtap', link: 'eth0', ...wanted })
  return world.call('createNetwork', { body })
}

test('a network on a link says so, has the MTU of the link and no bridge', async () => {
  await using world = await openWithLinks()

  const made = await create(world)

  assert.deepEqual(
    [made.state, made.link, made.macvtapMode, made.mtu, made.bridge, made.table],
    ['active', 'eth0', 'bridge', 9000, undefined, undefined],
  )
  assert.match(made.reach ?? '', /do not reach each other over eth0/)
  await assert.rejects(create(world, { name: 'lan2' }), {
    message: /The link eth0 is what network lan is on/,
  })
  const around = { name: 'lan2', mode: 'bridge', link: undefined, uplink: 'eth0', force: true } as const
  await assert.rejects(create(world, around), { message: /The link eth0 is what network lan is on/ })
  await assert.rejects(create(world, { name: 'lan2', link: 'eth2' }), { message: /has no link eth2/ })
})

test('a network on a link stays one, and its MTU and whom its guests reach take a restart', async () => {
  await using world = await openWithLinks()
  await create(world)
  const lan = { params: { network: 'lan' } }
  const plan = (body: object) => world.call('planNetwork', { ...lan, body: networkChange.parse(body) })

  const { changes } = await plan({ macvtapMode: 'private', mtu: 1500, autostart: false })

  assert.deepEqual(
    changes.map(({ field, effect }) => [field, effect]),
    [
      ['macvtapMode', 'restart'],
      ['mtu', 'restart'],
      ['autostart', 'live'],
    ],
  )
  await assert.rejects(plan({ mode: 'nat' }), { message: /mode macvtap, which does not become nat/ })
  const body = networkChange.parse({ macvtapMode: 'private' })
  const changed = await world.call('changeNetwork', { ...lan, query: { restart: true }, body })
  assert.deepEqual([changed.macvtapMode, changed.link], ['private', 'eth0'])
})

test('a NIC has on a link what a link has: limits, and guards by addresses that it names itself', async () => {
  await using world = await openWithLinks()
  await create(world)
  const on = (nic: object): VmSpecInput => ({ nics: [{ name: 'net0', network: 'lan', ...nic }] })

  for (const address of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255'])
    await assert.rejects(world.createVm('web1', on({ address })), { message: /no guest's on network lan/ })
  for (const ipv6 of ['::1', 'fe80::1', 'ff02::1'])
    await assert.rejects(world.createVm('web1', on({ ipv6 })), { message: /no guest's on network lan/ })
  const guarded = { antiSpoof: true, address: '192.0.2.9', ipv6: '2001:db8::9' }
  await world.createVm('held', on(guarded))
  await assert.rejects(world.createVm('web1', on(guarded)), { code: 'in-use' })
  await assert.rejects(world.createVm('web1', on({ isolated: true })), { message: /with the mode private/ })
  await world.createVm('web1', on({ limits: { send: 1_000_000 } }))
  assert.equal((await world.start('web1')).error, undefined)

  const [there] = world.machine.networks.values()
  assert.deepEqual(
    there?.wires.map(({ vm, comes }) => [vm, comes]),
    [['web1', true]],
    'The network makes the macvtap before the guest runs.',
  )
  const [way] = (await world.vm('web1')).status.nics ?? []
  assert.deepEqual([way?.link, way?.macvtapMode, way?.bridge], ['eth0', 'bridge', undefined])
})

test('a NIC comes to another network, or from one, with the next boot where either is a macvtap', async () => {
  await using world = await openWithLinks()
  await create(world)
  await create(world, { name: 'nat0', mode: 'nat', link: undefined })
  await world.createVm('web1', { nics: [{ name: 'net0', network: 'nat0' }] })
  await world.start('web1')

  const spec = vmSpec.parse({ nics: [{ name: 'net0', network: 'lan' }] })
  const { changes } = await world.call('planVm', { params: { name: 'web1' }, body: { spec } })

  assert.deepEqual(
    changes.map(({ field, effect, reason }) => [field, effect, reason]),
    [['nics.net0.network', 'next-boot', 'a NIC on a macvtap has that for as long as it is plugged']],
  )
})

test('of two VMs with a link for themselves one runs, and the refusal names it', async () => {
  await using world = await openWithLinks()
  await create(world, { macvtapMode: 'passthru' })
  const net0 = { name: 'net0', network: 'lan' }
  for (const name of ['web1', 'web2']) await world.createVm(name, { nics: [net0] })
  await world.createVm('both', { nics: [net0, { ...net0, name: 'net1' }] })

  assert.match((await world.start('both')).error?.detail ?? '', /^NIC net1 of VM both has the link eth0/)
  assert.equal((await world.start('web1')).error, undefined)
  const { error } = await world.start('web2')

  assert.equal(error?.code, 'in-use')
  assert.match(error.detail, /^NIC net0 of VM web1 has the link eth0 for itself/)
  await world.call('powerOffVm', { params: { name: 'web1' } })
  assert.equal((await world.start('web2')).error, undefined)
})
