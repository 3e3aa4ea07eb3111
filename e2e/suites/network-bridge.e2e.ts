/** Networks of mode bridge: guests are on the host's own LAN, by a bridge that is somebody else's and stays as it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, type NewNetworkInput } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { type NetworkRoom, openNetworkRoom, outside } from '../machine/network-room.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const params = { network: 'office' }
const withinMs = 60_000
const port = 7_777
const own = '198.51.100.50'
const guarded = { name: 'net0', network: 'office', antiSpoof: true, address: own } as const

test('a guest on a bridge of the host is on the host’s LAN, and the bridge stays as it was', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  const { host } = room
  await using world = await openWorld(t, { network: host.path })
  const create = (wanted: Partial<NewNetworkInput>) =>
    world.client.call(endpoints.createNetwork, { body: { name: 'office', mode: 'bridge', ...wanted } })
  await assert.rejects(create({ bridge: 'br0' }), /the host has no link br0; it has no bridge/)
  await host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
  await assert.rejects(create({ bridge: 'uplink' }), /uplink of the host is no bridge; its bridges are br0/)
  await assert.rejects(create({ bridge: 'br0', ipv4: { subnet: '10.9.0.0/24' } }), /the LAN does/)
  await assert.rejects(create({ bridge: 'br0' }), /br0 is down; ip link set br0 up/)
  await host.run('ip', 'address', 'flush', 'dev', 'uplink')
  for (const link of ['br0', 'uplink']) await host.run('ip', 'link', 'set', link, 'mtu', '1400', 'up')
  await host.run('ip', 'link', 'set', 'uplink', 'master', 'br0')
  await host.run('ip', 'address', 'add', `${outside.host}/24`, 'dev', 'br0')
  await room.echo(room.world, port)
  const bare = await room.hostState()

  const office = await create({ bridge: 'br0' })
  assert.deepEqual(
    [office.state, office.mtu, office.ipv4, office.table],
    ['active', 1400, undefined, undefined],
  )
  assert.equal(await room.hostState(), bare, 'Nothing is made of it on the host.')
  const web1 = await world.bootTiny('web1', { nics: [{ ...guarded, isolated: true }] })
  await assert.rejects(
    world.client.call(endpoints.createVm, { body: { name: 'thief', spec: { nics: [guarded] } } }),
    { code: 'in-use' },
  )
  await web1.shell(`ip address add ${own}/24 dev eth0 && ip link set eth0 up`)
  const seen = async () => ((await web1.run(`nc ${outside.world} ${port}`)).stdout === own ? true : undefined)
  await eventually(seen, { withinMs, what: 'the world sees the guest under its own address' })
  assert.ok(await room.world.reaches(own), 'The world reaches it.')
  assert.match(await host.run('ip', 'link', 'show', 'dev', 'br0'), /mtu 1400 /)
  assert.match(await room.hostState(), /table bridge kvasir_/)
  await isHeldToItself(room, web1)
  await world.assertCleanAudit()

  const tap = (await web1.show()).status.nics?.[0]?.tap ?? ''
  await host.run('ip', 'link', 'set', tap, 'nomaster')
  const isBack = async () => ((await room.world.reaches(own)) ? true : undefined)
  await eventually(isBack, { withinMs, what: 'the tap is on the bridge again' })
  await assert.rejects(world.client.call(endpoints.stopNetwork, { params }), { code: 'in-use' })
  await followsTheBridge(room, world, tap)

  await web1.powerOff()
  await world.client.call(endpoints.stopNetwork, { params })
  assert.equal(await room.hostState(), bare)
  await host.run('ip', 'link', 'delete', 'br0')
  await assert.rejects(world.client.call(endpoints.startNetwork, { params }), /the host has no link br0/)
})

/** Under another address nothing of a guarded guest gets out, and that is counted. */
async function isHeldToItself({ world }: NetworkRoom, vm: VmHandle): Promise<void> {
  const other = '198.51.100.51'
  await vm.shell(`ip address add ${other}/24 dev eth0`)
  assert.ok(!(await world.reaches(other)), 'Nobody reaches it under an address that is not its own.')
  assert.ok(await world.reaches(own))
  const drops = async () => (await vm.show()).status.nics?.[0]?.ruleDrops?.guard || undefined
  await eventually(drops, { withinMs, what: 'what its guard dropped is shown' })
  await vm.shell(`ip address del ${other}/24 dev eth0`)
}

/** Who looks after the bridge gives it a smaller MTU: what comes to it has that, and who was told another is named. */
async function followsTheBridge({ host }: NetworkRoom, world: World, tap: string): Promise<void> {
  const mtuOf = async (link: string) =>
    /mtu (\d+) /.exec(await host.run('ip', 'link', 'show', 'dev', link, 'master', 'br0'))?.[1]
  const said = async () => {
    const { findings } = await world.client.call(endpoints.getNetwork, { params })
    return findings.map(({ detail }) => detail).join()
  }
  await host.run('ip', 'link', 'set', 'br0', 'mtu', '1300')
  const isTold = async () =>
    /MTU of 1300 now, .* NIC net0 of VM web1 was told 1400/.test(await said()) ? true : undefined
  await eventually(isTold, { withinMs, what: 'the network names who was told more' })
  await host.run('ip', 'link', 'set', tap, 'nomaster')
  const isBack = async () => ((await mtuOf(tap)) === '1300' ? true : undefined)
  await eventually(isBack, { withinMs, what: 'a tap that comes back has the MTU of the bridge' })
  const web2 = await world.createTiny('web2', { nics: [{ name: 'net0', network: 'office' }] })
  await web2.start()
  assert.equal(
    await mtuOf((await web2.show()).status.nics?.[0]?.tap ?? ''),
    '1300',
    'So has one that is new.',
  )
  assert.match(await host.run('ip', 'link', 'show', 'dev', 'br0'), /mtu 1300 /)
  await web2.powerOff()
  await host.run('ip', 'link', 'set', 'br0', 'mtu', '1400')
  await host.run('ip', 'link', 'set', tap, 'mtu', '1400')
  const isQuiet = async () => ((await said()) === '' ? true : undefined)
  await eventually(isQuiet, { withinMs, what: 'nothing is said of a bridge that has its MTU again' })
}

test('a bridge is made around a link of the host, which stays reached, and all goes back when the network stops', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  const { host } = room
  const way = ['route', 'add', 'default', 'via', outside.world]
  await host.run('ip', ...way, 'proto', 'static', 'metric', '50')
  await host.run('ip', 'address', 'add', '198.51.100.9/24', 'dev', 'uplink')
  await host.run('ip', '-6', 'route', 'add', '2001:db8:5::/48', 'via', outside.world6)
  await using world = await openWorld(t, { network: host.path })
  const create = (wanted: Partial<NewNetworkInput>) =>
    world.client.call(endpoints.createNetwork, { body: { name: 'office', mode: 'bridge', ...wanted } })
  const bare = await room.uplinkState()
  const reached = async () => (await room.world.reaches(outside.host)) && room.world.reaches(outside.host6)

  await assert.rejects(create({ uplink: 'eth7' }), /no link eth7 to make a bridge around; it has uplink/)
  await assert.rejects(create({ uplink: 'lo' }), /its loopback, around which no bridge is made/)
  await assert.rejects(create({ uplink: 'uplink' }), {
    code: 'network-refused',
    message:
      /carries the host's default route \(by 198\.51\.100\.2\)\. With force, its addresses \(198\.51\.100\.1\/24, .* go to the bridge in one step/,
  })
  const unaware = await create({ uplink: 'uplink', force: true, vlanAware: true }).catch(String)
  if (typeof unaware === 'string')
    assert.match(unaware, /no bridges that tell VLANs apart \(CONFIG_BRIDGE_VLAN/)
  else await world.client.call(endpoints.deleteNetwork, { params: { network: 'office' } })
  assert.equal(await room.uplinkState(), bare, 'A refusal leaves nothing.')

  const office = await create({ uplink: 'uplink', force: true })
  const { bridge } = office
  assert.deepEqual([office.state, office.uplink], ['active', 'uplink'])
  const second = create({ name: 'second', uplink: 'uplink', force: true })
  await assert.rejects(second, /The link uplink is what network office is on/)
  assert.ok(await reached(), 'The host is reached by the bridge.')
  const guest = await room.addGuest(bridge, { mac: '52:54:00:00:00:21' })
  await guest.run('ip', 'address', 'add', `${own}/24`, 'dev', 'eth0')
  assert.ok(await guest.reaches(outside.world), 'A guest is on the LAN.')
  assert.match(
    await host.run('ip', 'route', 'get', '192.0.2.1'),
    new RegExp(`via ${outside.world} dev ${bridge} `),
  )
  assert.match(await host.run('ip', '-6', 'route', 'get', '2001:db8:5::1'), new RegExp(`dev ${bridge} `))

  await world.daemon.kill9()
  assert.ok((await reached()) && (await guest.reaches(outside.world)), 'Traffic flows on.')
  await host.run('ip', 'link', 'delete', bridge)
  await world.startDaemon()
  await eventually(async () => ((await reached()) ? true : undefined), { withinMs, what: 'it is made again' })

  await host.run('ip', 'link', 'delete', 'guest0')
  await world.client.call(endpoints.stopNetwork, { params })
  assert.equal(await room.uplinkState(), bare)
  assert.ok(await reached())
  await world.client.call(endpoints.startNetwork, { params })
  assert.ok(await reached())
  await world.client.call(endpoints.deleteNetwork, { params })
  assert.equal(await room.uplinkState(), bare)
})
