/**
 * Networks by packets: a daemon in a network namespace of its own, namespaces in the place of guests, and a world outside.
 *
 * Not here: VMs on networks, and daemons that die in the middle of a step (network-crash.e2e.ts).
 */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { endpoints, type Network, type NewNetworkInput } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { type NetworkRoom, openNetworkRoom, outside } from '../machine/network-room.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const params = { network: 'lan' }
const repairMs = 40_000
const port = 7_777
const mac1 = '52:54:00:00:00:01'
const mac2 = '52:54:00:00:00:02'
const mac3 = '52:54:00:00:00:03'

test('a guest of a nat network has an address and a name, and reaches the world under the address of the host', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  const before = await room.hostState()
  const address6 = 'fd12:3456:789a:1::9'
  const reservations = [{ mac: mac1, address: '10.9.0.9', ipv6: address6, name: 'db1' }]
  const ipv6 = { subnet: 'fd12:3456:789a:1::/64' }
  const lan = await create(world, { ipv4: { subnet: '10.9.0.0/24' }, ipv6, reservations })
  const [db1, web1] = [
    await room.addGuest(lan.bridge, { mac: mac1 }),
    await room.addGuest(lan.bridge, { mac: mac2 }),
  ]
  await room.echo(room.world, port)

  assert.equal(
    await room.lease(db1, 'anything'),
    'lease 10.9.0.9/24 router 10.9.0.1 dns 10.9.0.1 domain lan.internal',
  )
  assert.equal(await room.lease6(db1, mac1), address6)
  assert.match(await room.lease(web1, 'web1'), /^lease 10\.9\.0\.\d+\/24 router 10\.9\.0\.1 /)

  assert.match(await web1.run('busybox', 'nslookup', 'db1.lan.internal', '10.9.0.1'), /10\.9\.0\.9/)
  // Both words mean something else to dnsmasq.
  await world.client.call(endpoints.createVm, {
    body: { name: 'ignore', spec: { nics: [{ name: 'net0', network: 'lan', mac: mac3 }] } },
  })
  const ignore = await room.addGuest(lan.bridge, { mac: mac3 })
  await eventually(
    async () => {
      const address = /lease ([\d.]+)/.exec(await room.lease(ignore, 'localhost'))?.[1] ?? 'none'
      const said = await web1.run('busybox', 'nslookup', 'ignore.lan.internal', '10.9.0.1').catch(() => '')
      return said.includes(address) ? true : undefined
    },
    { withinMs: repairMs, what: 'DNS knows the VM by its name' },
  )
  assert.ok(!(await web1.can('busybox', 'nslookup', 'localhost.lan.internal', '10.9.0.1')))
  assert.ok(await web1.reaches('10.9.0.9'), 'Guests reach each other.')
  assert.ok(await room.host.reaches('10.9.0.9'), 'The host reaches them.')
  assert.equal(await web1.seenAs(outside.world, port), outside.host)
  await eventually(
    async () => ((await web1.seenAs(outside.world6, port)) === outside.host6 ? true : undefined),
    {
      withinMs: repairMs,
      what: 'the guest has made itself an address of IPv6 and reaches the world',
    },
  )
  const leases = await world.client.call(endpoints.listLeases, { params })
  const ofDb1 = leases.filter((lease) => lease.mac === mac1 && lease.name === 'db1')
  assert.deepEqual(ofDb1.map(({ address }) => address).toSorted(), ['10.9.0.9', address6])

  await room.world.run('ip', 'route', 'add', '10.9.0.0/24', 'via', outside.host)
  await room.echo(db1, port)
  assert.equal(await room.world.seenAs('10.9.0.9', port), undefined, 'The world does not reach in.')

  await takeGuestsAway(room, 3)
  await world.client.call(endpoints.stopNetwork, { params })
  assert.equal(await room.hostState(), before, 'Stopped, it has left nothing.')
})

test('traffic flows on while the daemon is dead, and the next one takes over what is there', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  const lan = await create(world, { ipv4: { subnet: '10.9.0.0/24' } })
  const guest = await room.addGuest(lan.bridge, { mac: mac1 })
  const lease = await room.lease(guest, 'web1')
  await room.echo(room.world, port)

  await world.daemon.kill9()
  assert.equal(await guest.seenAs(outside.world, port), outside.host)
  assert.equal(await room.lease(guest, 'web1'), lease)
  await world.startDaemon()

  const shown = await show(world)
  assert.equal(shown.state, 'active')
  assert.equal(shown.dnsmasqPid, lan.dnsmasqPid)
  assert.equal(await guest.seenAs(outside.world, port), outside.host)
})

test('what others take away of a network comes back: its dnsmasq, its rules, its bridge, forwarding', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  const lan = await create(world, { ipv4: { subnet: '10.9.0.0/24' } })
  const guest = await room.addGuest(lan.bridge, { mac: mac1 })
  await room.echo(room.world, port)
  const lease = await room.lease(guest, 'web1')

  process.kill(lan.dnsmasqPid ?? 0, 'SIGKILL')
  await eventually(
    async () => {
      const { dnsmasqPid, state } = await show(world)
      return state === 'active' && dnsmasqPid !== undefined && dnsmasqPid !== lan.dnsmasqPid
        ? true
        : undefined
    },
    { withinMs: repairMs, what: 'another dnsmasq serves' },
  )
  assert.equal(await room.lease(guest, 'web1'), lease)

  await room.host.run('nft', 'flush', 'ruleset')
  await room.host.run('sysctl', '-w', 'net.ipv4.ip_forward=0')
  await eventually(
    async () => ((await guest.seenAs(outside.world, port)) === outside.host ? true : undefined),
    {
      withinMs: repairMs,
      what: 'the guest is masqueraded again',
    },
  )

  await room.host.run('ip', 'link', 'delete', lan.bridge)
  await eventually(
    () =>
      room.host.run('ip', 'address', 'show', 'dev', lan.bridge).then(
        (text) => /10\.9\.0\.1/.exec(text) ?? undefined,
        () => undefined,
      ),
    { withinMs: repairMs, what: 'the bridge is there again' },
  )
  await room.plug('guest0', lan.bridge)
  await eventually(
    async () => ((await guest.seenAs(outside.world, port)) === outside.host ? true : undefined),
    {
      withinMs: repairMs,
      what: 'the guest reaches the world again',
    },
  )
})

test('guests of a routed network are reached under their own addresses, those of an isolated one not at all', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  const routed = await create(world, { mode: 'routed', ipv4: { subnet: '203.0.113.0/24' } })
  const isolated = await create(world, { name: 'cell', mode: 'isolated', ipv4: { subnet: '10.8.0.0/24' } })
  await room.world.run('ip', 'route', 'add', '203.0.113.0/24', 'via', outside.host)
  await room.world.run('ip', 'route', 'add', '10.8.0.0/24', 'via', outside.host)
  await room.echo(room.world, port)
  const [open1, cell1, cell2] = [
    await room.addGuest(routed.bridge, { mac: mac1 }),
    await room.addGuest(isolated.bridge, { mac: mac1 }),
    await room.addGuest(isolated.bridge, { mac: mac2 }),
  ]
  const address = /lease ([\d.]+)/.exec(await room.lease(open1, 'open1'))?.[1] ?? ''
  assert.match(await room.lease(cell1, 'cell1'), /router none /)
  const peer = /lease ([\d.]+)/.exec(await room.lease(cell2, 'cell2'))?.[1] ?? ''

  assert.equal(await open1.seenAs(outside.world, port), address)
  assert.ok(await room.world.reaches(address))

  assert.ok(await cell1.reaches(peer), 'Guests of an isolated network reach each other.')
  assert.ok(await cell1.reaches('10.8.0.1'), 'And the host there.')
  await cell1.run('ip', 'route', 'add', 'default', 'via', '10.8.0.1')
  assert.ok(!(await cell1.reaches(outside.world)), 'Not the world, though they try.')
  assert.ok(!(await cell1.reaches(outside.host)), 'Nor what else the host has.')
  assert.ok(!(await cell1.reaches(address)), 'Nor other networks.')
  assert.ok(!(await room.world.reaches(peer)), 'And the world does not reach them.')
})

test('what collides or is somebody else’s is refused, and stays as it is', { skip }, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  await room.host.run('ip', 'link', 'add', 'br-other', 'type', 'bridge')
  await room.host.run('ip', 'route', 'add', '10.5.0.0/16', 'via', outside.world)
  const before = await room.hostState()
  const refused = (wanted: Partial<NewNetworkInput>, sentence: RegExp, code = 'network-refused') =>
    assert.rejects(create(world, wanted), (error: Error & { code?: string }) => {
      assert.equal(error.code, code, error.message)
      assert.match(error.message, sentence)
      return true
    })

  await refused({ ipv4: { subnet: '198.51.0.0/16' } }, /address 198\.51\.100\.1\/24 of link uplink/)
  await refused({ ipv4: { subnet: '10.5.7.0/24' } }, /route to 10\.5\.0\.0\/16/)
  await refused({ bridge: 'br-other' }, /br-other is there already/)
  await refused({ bridge: 'uplink' }, /uplink is there already/)
  await room.echo(room.host, 53) // A DNS server that listens on every address.
  await refused(
    {},
    /^The program node\S* \(pid \d+\) has port 53 of tcp at .* already, so network lan has no/,
    'in-use',
  )
  assert.equal(await room.hostState(), before)
  assert.deepEqual(await world.client.call(endpoints.listNetworks), [])
})

test('after a boot of the host all is rebuilt, unless somebody else has its place', { skip }, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  const lan = await create(world, { ipv4: { subnet: '10.9.0.0/24' }, bridge: 'br-lan' })
  const fresh = await room.hostState()
  await world.daemon.kill9()
  // What a boot takes: processes, links, rules, settings.
  process.kill(lan.dnsmasqPid ?? 0, 'SIGKILL')
  await room.host.run('ip', 'link', 'delete', lan.bridge)
  await room.host.run('nft', 'flush', 'ruleset')
  await world.startDaemon()
  assert.equal((await show(world)).state, 'active')
  assert.equal(await room.hostState(), fresh)

  await world.client.call(endpoints.stopNetwork, { params })
  await room.host.run('ip', 'link', 'add', 'br-lan', 'type', 'bridge')
  await assert.rejects(world.client.call(endpoints.startNetwork, { params }), { code: 'network-refused' })
  assert.match(await room.host.run('ip', 'link', 'show'), /br-lan/)
  await world.client.call(endpoints.deleteNetwork, { params })
  assert.match(await room.host.run('ip', 'link', 'show'), /br-lan/, 'It is not ours, so it stays.')
})

test('the command line creates, shows, lists, stops, starts and deletes a network', { skip }, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await open(t, room)
  const records = ['db A 10.9.0.7', 'www CNAME web1', 'note TXT it says "hello", and so on']
  const made = await world.cli(
    ...'network create lan --subnet 10.9.0.0/24 --dhcp 10.9.0.50-10.9.0.60'.split(' '),
    ...records.flatMap((record) => ['--record', record]),
  )
  assert.equal(made.code, 0, made.stderr)

  const shown = await world.cli('network', 'show', 'lan', '-o', 'json')
  const { ipv4, bridge } = JSON.parse(shown.stdout) as Network // The stable form of the command line.
  assert.deepEqual(ipv4?.dhcp, { first: '10.9.0.50', last: '10.9.0.60' })
  const guest = await room.addGuest(bridge, { mac: mac1 })
  await room.lease(guest, 'web1')
  assert.match((await world.cli('network', 'leases', 'lan')).stdout, /10\.9\.0\.\d+ +52:54:00:00:00:01 +web1/)
  assert.match((await world.cli('network', 'list')).stdout, /lan +nat +active/)
  assert.equal((await world.cli('network', 'autostart', 'lan', 'off')).code, 0)

  const file = join(world.place.base, 'lan.yaml')
  await writeFile(file, 'domain: office.example\n')
  const edit = (...flags: string[]) => world.cli('network', 'edit', 'lan', '-f', file, '--yes', ...flags)
  assert.equal((await edit()).code, 0)
  assert.match(await guest.run('busybox', 'nslookup', 'web1.office.example', '10.9.0.1'), /10\.9\.0\.\d+/)
  assert.match(await guest.run('busybox', 'nslookup', 'db.office.example', '10.9.0.1'), /10\.9\.0\.7/)
  assert.match(
    await guest.run('busybox', 'nslookup', 'www.office.example', '10.9.0.1'),
    /web1\.office\.example/,
  )
  const note = await guest.run('busybox', 'nslookup', '-type=txt', 'note.office.example', '10.9.0.1')
  assert.match(note, /it says "hello", and so on/)
  assert.match((await world.cli('network', 'show', 'lan')).stdout, /^Records +db A 10\.9\.0\.7$/m)
  await writeFile(file, 'ipv4: { subnet: 10.8.0.0/24 }\n')
  assert.match((await world.cli('network', 'plan', 'lan', '-f', file)).stdout, /ipv4\.subnet .* restart /)
  assert.equal((await edit()).code, 1, 'Not without --restart.')
  assert.equal((await edit('--restart')).code, 0)
  await room.plug('guest0', bridge)
  assert.match(
    await room.lease(guest, 'web1'),
    /^lease 10\.8\.0\.\d+\/24 router 10\.8\.0\.1 .* domain office\.example/,
  )
  assert.doesNotMatch(await room.hostState(), /10\.9\.0\./, 'Nothing is left of the former subnet.')

  assert.equal((await world.cli('network', 'stop', 'lan')).code, 0)
  assert.equal((await world.cli('network', 'start', 'lan')).code, 0)
  assert.equal((await world.cli('network', 'delete', 'lan', '--yes')).code, 0)
  assert.equal((await world.cli('network', 'show', 'lan')).code, 3)
})

function open(t: TestContext, room: NetworkRoom): Promise<World> {
  return openWorld(t, { network: room.host.path })
}

function create(world: World, wanted: Partial<NewNetworkInput>): Promise<Network> {
  return world.client.call(endpoints.createNetwork, { body: { name: 'lan', ...wanted } })
}

function show(world: World): Promise<Network> {
  return world.client.call(endpoints.getNetwork, { params })
}

async function takeGuestsAway(room: NetworkRoom, count: number): Promise<void> {
  for (let number = 0; number < count; number++) await room.host.run('ip', 'link', 'delete', `guest${number}`)
}
