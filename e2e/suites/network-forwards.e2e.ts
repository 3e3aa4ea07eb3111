/** Ports of the host that lead to guests of a nat network: by packets from outside, from the host itself and from other guests. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, type Network } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { type Namespace, openNetworkRoom, outside } from '../machine/network-room.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const withinMs = 40_000
const page = 'hello from the guest'
const busy = 7_777

interface Forward {
  hostPort: number
  hostAddress: string
  guestPort: number
}

test('ports of the host lead to a guest, for whom they are meant, and follow its spec while it runs', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  const { host, world: outsider } = room
  await using world = await openWorld(t, { network: host.path })
  await host.run('ip', 'link', 'set', 'lo', 'up')
  await room.echo(host, busy)
  const lan = await world.client.call(endpoints.createNetwork, {
    body: { name: 'lan', ipv4: { subnet: '10.9.0.0/24' } },
  })
  const quiet = await host.run('nft', 'list', 'ruleset')
  const web1 = await world.bootTiny('web1', nic([open(8080), open(8081, '127.0.0.1')]))
  await web1.shell(`mkdir -p /tmp/www && echo ${page} >/tmp/www/index.html && httpd -h /tmp/www`)
  const peer = await room.addGuest(lan.bridge, { mac: '52:54:00:00:00:02' })
  await room.lease(peer, 'peer')

  const reach = async () => ((await get(outsider, outside.host, 8080)) === page ? true : undefined)
  await eventually(reach, { withinMs, what: 'the world reaches the guest' })
  const { address } = (await web1.show()).spec.nics[0] ?? {}
  const isShown = async () =>
    (await web1.show()).status.nics?.[0]?.addresses[0] === address ? true : undefined
  await eventually(isShown, { withinMs, what: 'the guest has the address that was chosen for its NIC' })
  for (const [from, at, port] of [
    [host, '127.0.0.1', 8080],
    [host, '127.0.0.1', 8081],
    [host, outside.host, 8080],
    [peer, '10.9.0.1', 8080],
    [peer, outside.host, 8080],
  ] as const)
    assert.equal(await get(from, at, port), page, `${from.name} to ${at}:${port}`)
  assert.equal(await get(outsider, outside.host, 8081), 'nothing', 'This one is for the host.')
  assert.equal(await get(peer, '10.9.0.1', 8081), 'nothing')

  // The guest's routing of the host's loopback is put as somebody would who tries to get there.
  await peer.run('ip', 'address', 'delete', '127.0.0.1/8', 'dev', 'lo')
  await peer.run('sysctl', '-w', 'net.ipv4.conf.all.route_localnet=1')
  await peer.run('ip', 'route', 'add', '127.0.0.1/32', 'via', '10.9.0.1')
  assert.equal(await host.seenAs('127.0.0.1', busy), '127.0.0.1')
  assert.equal(await peer.can('busybox', 'timeout', '2', 'busybox', 'nc', '127.0.0.1', String(busy)), false)

  await world.daemon.kill9()
  assert.equal(await get(outsider, outside.host, 8080), page, 'Without the daemon, too.')
  await world.startDaemon()

  const network = await world.client.call(endpoints.getNetwork, { params: { network: 'lan' } }) // It is settled.
  await takeAway(host, network, web1)
  await untilRepaired(world, host)

  const { spec } = await web1.show()
  const moved = { ...spec, nics: nic([open(8090)]).nics }
  assert.deepEqual(
    (await web1.plan(moved)).changes.map(({ field, effect }) => [field, effect]),
    [['nics.net0.forwards', 'live']],
  )
  await web1.apply(moved)
  assert.equal(await get(outsider, outside.host, 8090), page)
  assert.equal(await get(outsider, outside.host, 8080), 'nothing')

  const web2 = await world.createTiny('web2', nic([open(busy)]))
  await assert.rejects(web2.start(), {
    code: 'in-use',
    message: /^The program node\S* \(pid \d+\) has port 7777/,
  })
  await web2.apply({ ...(await web2.show()).spec, nics: nic([open(8090, '127.0.0.1')]).nics })
  await assert.rejects(web2.start(), { code: 'in-use', message: /^NIC net0 of VM web1 has port 8090/ })

  await web1.powerOff()
  const isQuiet = async () => ((await host.run('nft', 'list', 'ruleset')) === quiet ? true : undefined)
  await eventually(isQuiet, { withinMs, what: 'the rules of a VM that is off are gone' })
})

function nic(forwards: readonly Forward[]) {
  return { nics: [{ name: 'net0', network: 'lan', forwards: [...forwards] }] }
}

function open(hostPort: number, hostAddress = '0.0.0.0'): Forward {
  return { hostPort, hostAddress, guestPort: 80 }
}

/** What forwards need, as others might change it. */
async function takeAway(host: Namespace, { bridge, table }: Network, vm: VmHandle): Promise<void> {
  const [nic] = (await vm.show()).status.nics ?? []
  await host.run('ip', 'link', 'set', 'dev', nic?.tap ?? '', 'nomaster')
  await host.run('sysctl', '-w', `net.ipv4.conf.${bridge}.route_localnet=0`)
  await host.run('nft', 'delete', 'table', 'inet', table ?? '')
}

async function untilRepaired(world: World, host: Namespace): Promise<void> {
  const isBack = async () => ((await get(host, '127.0.0.1', 8081)) === page ? true : undefined)
  await eventually(isBack, { withinMs, what: 'what others took away is put right' })
  const isSaid = async () => {
    const { stdout } = await world.cli('network', 'show', 'lan')
    const said = [/The tap kvt\w+ is not on the bridge/, /routes the loopback/, /Its rules are gone/]
    return said.every((what) => what.test(stdout)) ? true : undefined
  }
  await eventually(isSaid, { withinMs, what: 'the network says what was put right' })
}

/** What is at the first page of a server. */
function get(from: Namespace, address: string, port: number): Promise<string> {
  const words = ['timeout', '4', 'busybox', 'wget', '-Y', 'off', '-q', '-O', '-']
  return from.run('busybox', ...words, `http://${address}:${port}/`).then(
    (text) => text.trim(),
    () => 'nothing',
  )
}
