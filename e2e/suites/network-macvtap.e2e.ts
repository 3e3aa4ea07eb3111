/** Networks of mode macvtap: guests are on the LAN of a link of the host, beside the host, and what is not ours stays as it was. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, type NewNetworkInput } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { keepsApart, settled } from '../machine/macvtap-modes.ts'
import { type NetworkRoom, openNetworkRoom, outside } from '../machine/network-room.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const withinMs = 60_000
const own = { address: '198.51.100.50', address6: '2001:db8:ffff::50', mac: '52:54:00:00:00:50' } as const
/** Another guest on the link, which somebody else has put there. */
const other = '198.51.100.60'
const held = { antiSpoof: true, address: own.address, ipv6: own.address6 } as const
/** An address that is not its own. */
const feigned = '198.51.100.77'
const lan = { name: 'net0', network: 'lan', mac: own.mac }
const fast = { name: 'net1', network: 'fast', mac: '52:54:00:00:00:51' }

test('a guest on a macvtap is on the LAN beside the host, and nothing of it is left', { skip }, async (t) => {
  await using room = await openNetworkRoom()
  const { host } = room
  await using world = await openWorld(t, { network: host.path })
  await host.run('ip', 'link', 'add', 'spare', 'type', 'veth', 'peer', 'name', 'spare-end')
  await refuses(room, world)
  const neighbour = await putNeighbour(room)
  const bare = await macvtapState(room)
  const spareMac = await macOf(room, 'spare')

  const made = await create(world, {})
  assert.deepEqual(
    [made.state, made.link, made.macvtapMode, made.bridge, made.mtu],
    ['active', 'uplink', 'bridge', undefined, 1500],
  )
  assert.match(made.reach ?? '', /This host and its guests do not reach each other over uplink/)
  await create(world, { name: 'fast', link: 'spare', macvtapMode: 'passthru' })
  const limits = { send: 50_000_000, receive: 50_000_000 }
  const web1 = await world.bootTiny('web1', { cpu: { count: 2 }, nics: [{ ...lan, ...held, limits }, fast] })
  await web1.shell(
    `ip address add ${own.address}/24 dev eth0 && ip -6 address add ${own.address6}/64 dev eth0 && ip link set eth0 up`,
  )

  const reaches = async (address: string) => (await web1.run(`ping -c 2 -W 4 ${address}`)).exitCode === 0
  const isOut = async () => ((await reaches(outside.world)) ? true : undefined)
  await eventually(isOut, { withinMs, what: 'the guest reaches the world' })
  assert.ok(await reaches(other), 'It reaches the other guest of the link.')
  assert.ok(!(await reaches(outside.host)), 'It does not reach the host.')
  assert.ok(await neighbour.reaches(own.address), 'The other guest reaches it.')
  assert.ok(await room.world.reaches(own.address6), 'It hears who asks for its address of IPv6.')
  assert.match(await room.world.run('ip', 'neigh', 'show', own.address), new RegExp(own.mac))
  await isHeld(room, world, web1)
  await showsTheWay(world, web1)
  assert.match(
    await host.run('nft', 'list', 'ruleset'),
    /hook egress device "kvt[\s\S]*hook ingress device "kvt/,
  )
  assert.equal(
    await macOf(room, 'spare'),
    fast.mac,
    'A link that one guest has for itself has its MAC address.',
  )
  await world.assertCleanAudit()

  await world.createTiny('web2', { nics: [{ ...fast, mac: '52:54:00:00:00:52' }] })
  await assert.rejects(world.vm('web2').start(), /NIC net1 of VM web1 has the link spare for itself/)
  const { spec } = await web1.show()
  await plugsAndPlans(world, web1)
  await keepsApart(room, world, web1)
  await web1.apply(spec)
  await settled(web1)

  await world.daemon.kill9()
  assert.ok(await room.world.reaches(own.address), 'Packets flow while the daemon is dead.')
  process.kill(await pidOf(web1, world), 'SIGKILL')
  await web1.untilState('crashed')
  await eventually(async () => ((await macvtapState(room)) === bare ? true : undefined), {
    withinMs,
    what: 'no macvtap and no rule is left',
  })
  assert.equal(await macOf(room, 'spare'), spareMac, 'The link has its own MAC address again.')
  await web1.apply({ ...spec, nics: [lan] })
  await web1.start()
  await web1.shell('true') // A driver that begins without its macvtap ends this emulator.
  await losesItsLink(room, world, web1)
  await web1.powerOff()
  for (const network of ['lan', 'fast'])
    await world.client.call(endpoints.stopNetwork, { params: { network } })
  assert.doesNotMatch(await room.hostState(), /kvt|kvasir/)
})

/** It sends as nobody else, which is counted; told not to be held to that, it may. */
async function isHeld({ world: lanSide }: NetworkRoom, world: World, vm: VmHandle): Promise<void> {
  await vm.shell(`ip address add ${feigned}/24 dev eth0`)
  const sends = async () => (await vm.run(`ping -c 1 -W 2 -I ${feigned} ${outside.world}`)).exitCode === 0
  assert.ok(!(await sends()), 'Not from an address of its own choice.')
  const drops = async () => (await vm.show()).status.nics?.[0]?.ruleDrops?.guard || undefined
  await eventually(drops, { withinMs, what: 'what its guard dropped is shown' })
  const set = async (words: string) =>
    assert.equal((await world.cli('vm', 'nic', 'set', vm.name, 'net0', words)).code, 0)
  await set('antiSpoof=false')
  assert.ok(await sends(), 'It is held to nothing.')
  await set('antiSpoof')
  await lanSide.run('ip', 'neigh', 'flush', 'all')
  assert.ok(!(await sends()))
  await vm.shell(`ip address delete ${feigned}/24 dev eth0`)
}

function create({ client }: World, wanted: Partial<NewNetworkInput>) {
  return client.call(endpoints.createNetwork, {
    body: { name: 'lan', mode: 'macvtap', link: 'uplink', ...wanted },
  })
}

async function refuses({ host }: NetworkRoom, world: World): Promise<void> {
  await host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
  await host.run('ip', 'link', 'set', 'spare-end', 'master', 'br0', 'up')
  const cases: readonly (readonly [Partial<NewNetworkInput>, RegExp])[] = [
    [{ link: 'eth7' }, /the host has no link eth7; guests can be put on uplink/],
    [{ link: 'br0' }, /is a bridge; --mode bridge --bridge br0/],
    [{ link: 'spare-end' }, /is a port of br0/],
    [{ link: 'spare' }, /spare of the host is down; ip link set spare up/],
    [{ link: 'lo' }, /is no Ethernet/],
    [{ mtu: 9000 }, /takes packets of 1500 bytes at most/],
    [{ macvtapMode: 'passthru' }, /198\.51\.100\.1\/24.*would be reached there no more/],
    [{ ipv4: { subnet: '10.9.0.0/24' } }, /the LAN does/],
  ]
  for (const [wanted, sentence] of cases) await assert.rejects(create(world, wanted), sentence)
  await host.run('ip', 'link', 'delete', 'br0')
  for (const link of ['spare', 'spare-end']) await host.run('ip', 'link', 'set', link, 'up')
}

/** A macvlan of somebody else on the same link, in a namespace of its own. */
async function putNeighbour(room: NetworkRoom) {
  const neighbour = await room.addNamespace()
  await room.host.run(
    'ip',
    'link',
    'add',
    'link',
    'uplink',
    'name',
    'mv0',
    'netns',
    neighbour.name,
    'type',
    'macvlan',
    'mode',
    'bridge',
  )
  await neighbour.run('ip', 'address', 'add', `${other}/24`, 'dev', 'mv0')
  await neighbour.run('ip', 'link', 'set', 'mv0', 'up')
  return neighbour
}

async function showsTheWay(world: World, vm: VmHandle): Promise<void> {
  const counted = async () => {
    const way = (await vm.show()).status.nics?.find(({ nic }) => nic === 'net0')
    return (way?.counters?.sentPackets ?? 0) > 0 && (way?.counters?.receivedPackets ?? 0) > 0
      ? way
      : undefined
  }
  const way = await eventually(counted, { withinMs, what: 'what the guest sent and received is counted' })
  assert.deepEqual([way.link, way.macvtapMode, way.bridge, way.queues], ['uplink', 'bridge', undefined, 2])
  const { stdout } = await world.cli('vm', 'show', vm.name)
  assert.match(stdout, /2 queues -> emulator -> kvt[0-9a-f]{10} -> uplink \(macvtap bridge\)/)
  assert.match((await world.cli('network', 'show', 'lan')).stdout, /uplink \(macvtap bridge\), MTU 1500/)
}

/** Its NIC comes and goes while it runs; another network it gets with its next boot. */
async function plugsAndPlans(world: World, vm: VmHandle): Promise<void> {
  await world.client.call(endpoints.createNetwork, {
    body: { name: 'nat0', ipv4: { subnet: '10.9.0.0/24' } },
  })
  const { spec } = await vm.show()
  const at = { network: 'nat0', address: '10.9.0.50', ipv6: undefined }
  const elsewhere = spec.nics.map((nic) => (nic.name === 'net0' ? { ...nic, ...at } : nic))
  const { changes } = await vm.plan({ ...spec, nics: elsewhere })
  assert.deepEqual(
    changes.flatMap(({ field, effect }) => (field.endsWith('.network') ? [[field, effect]] : [])),
    [['nics.net0.network', 'next-boot']],
  )
  await world.client.call(endpoints.deleteNetwork, { params: { network: 'nat0' } })
  assert.equal((await world.cli('vm', 'nic', 'set', vm.name, 'net0', 'link=down')).code, 0)
  assert.equal((await world.cli('vm', 'nic', 'set', vm.name, 'net0', 'link=up')).code, 0)
  await vm.apply({ ...spec, nics: spec.nics.filter(({ name }) => name !== 'net1') })
  await settled(vm)
  await vm.apply(spec)
  await settled(vm)
  await eventually(
    async () => ((await vm.run('ls /sys/class/net')).stdout.includes('eth1') ? true : undefined),
    { withinMs, what: 'the NIC is there again' },
  )
}

/** The process of its emulator, as the next daemon knows it. */
async function pidOf(vm: VmHandle, world: World): Promise<number> {
  await world.startDaemon()
  await eventually(async () => ((await vm.state()) === 'running' ? true : undefined), {
    withinMs,
    what: 'it is adopted',
  })
  assert.match(
    (await world.client.call(endpoints.listNetworks)).map(({ state }) => state).join(),
    /active,active/,
  )
  return await vm.pid()
}

/** Its link goes under it, and comes back: the network says what became of it. */
async function losesItsLink({ host, world: outer }: NetworkRoom, world: World, vm: VmHandle): Promise<void> {
  const told = async () => await world.client.call(endpoints.getNetwork, { params: { network: 'lan' } })
  await outer.run('ip', 'link', 'set', 'uplink', 'down')
  await eventually(
    async () =>
      (await told()).findings.some(({ detail }) => detail.includes('no carrier')) ? true : undefined,
    { withinMs, what: 'it says that there is no carrier' },
  )
  await host.run('ip', 'link', 'delete', 'uplink')
  await eventually(async () => ((await told()).state === 'failed' ? true : undefined), {
    withinMs,
    what: 'the network lacks its link',
  })
  assert.match((await told()).reason, /the host has no link uplink/)
  await host.run('ip', 'link', 'add', 'uplink', 'up', 'type', 'veth', 'peer', 'name', 'far')
  const isLost = async () => {
    const { state, reason, findings } = await told()
    assert.equal(state, 'active', reason)
    assert.match(findings.map(({ detail }) => detail).join(), /NIC net0 of VM web1 has lost its macvtap/)
    return true
  }
  await eventually(isLost, { withinMs, what: 'the network is there again, and says whose NIC is not' })
  const isTold = async () => (await vm.show()).status.lostDevices?.[0]
  const lost = await eventually(isTold, { withinMs, what: 'the VM says so too' })
  assert.match(`${lost.device}: ${lost.reason}`, /^nics\.net0: The tap of NIC net0 was deleted on the host/)
  assert.equal(await vm.shell('cat /sys/class/net/eth0/carrier'), '0')
  assert.equal(await vm.state(), 'running')
}

async function macOf({ host }: NetworkRoom, link: string): Promise<string> {
  return /link\/ether (\S+)/.exec(await host.run('ip', 'link', 'show', 'dev', link))?.[1] ?? ''
}

/** What may be left of macvtaps: links, their MAC addresses, and rules. */
async function macvtapState({ host }: NetworkRoom): Promise<string> {
  const links = (await host.run('ip', '-brief', 'link', 'show')).matchAll(
    /^(\S+) .*?((?:[0-9a-f]{2}:){5}\S+)/gm,
  )
  return `${[...links].map(([, name, mac]) => `${name} ${mac}`).join('\n')}\n${await host.run('nft', 'list', 'ruleset')}`
}
