/** Firewalls of others that drop what a network's guests send: it is said which rule does, and what is advised makes the packets flow. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { endpoints, type NetworkFinding } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { dockerRules } from '../machine/docker-rules.ts'
import { startFirewalld, startUfw } from '../machine/foreign-firewalls.ts'
import { type Namespace, type NetworkRoom, openNetworkRoom, outside } from '../machine/network-room.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'iptables')
const port = 443
/** A network behind the host's address, and one whose guests are reached from outside. */
const [lan, road] = [
  { name: 'lan', bridge: 'br-lan', ipv4: { subnet: '10.9.0.0/24' }, ipv6: { subnet: 'fd00:9::/64' } },
  { name: 'road', mode: 'routed', bridge: 'br-road', ipv4: { subnet: '10.8.0.0/24' } },
] as const
// What is dropped has no end to wait for.
const soon = ['busybox', 'timeout', '2', 'busybox']

const ownRules = [
  'add table inet mine',
  'add chain inet mine judge',
  'add rule inet mine judge tcp dport 22 accept',
  'add rule inet mine judge ip saddr 10.0.0.0/8 counter reject',
  'add chain inet mine way { type filter hook forward priority 10; policy accept; }',
  'add rule inet mine way ct state established,related accept',
  'add rule inet mine way jump judge',
  'add chain inet mine door { type filter hook input priority 10; policy drop; }',
  'add rule inet mine door iifname "lo" accept',
  'add rule inet mine door iifname "uplink" accept',
]

/** Guests on two networks, and what of their packets arrives. */
class Scene {
  readonly room: NetworkRoom
  readonly world: World
  readonly #guests: readonly [Namespace, Namespace]

  constructor(room: NetworkRoom, world: World, guests: readonly [Namespace, Namespace]) {
    ;[this.room, this.world, this.#guests] = [room, world, guests]
  }

  /** What arrives, of: out by IPv4 and by IPv6, to the DNS, and from outside to a guest that is routed. */
  async arrives(): Promise<readonly boolean[]> {
    const [guest, routed] = this.#guests
    const calls = (from: Namespace, to: string) => from.can(...soon, 'nc', to, String(port))
    const asks = guest.can(...soon, 'nslookup', 'web1.lan.internal', '10.9.0.1')
    const routedAddress = (await routed.run('ip', '-4', '-br', 'address', 'show', 'eth0')).match(
      /[\d.]+(?=\/)/,
    )?.[0]
    return await Promise.all([
      calls(guest, outside.world),
      calls(guest, outside.world6),
      asks,
      calls(this.room.world, routedAddress ?? ''),
    ])
  }

  async findings(): Promise<readonly NetworkFinding[]> {
    const all = []
    for (const { name } of [lan, road])
      all.push(
        ...(await this.world.client.call(endpoints.getNetwork, { params: { network: name } })).findings,
      )
    return all
  }

  /** Does what is advised until nothing is told any more, and sees that all packets arrive. */
  async follow(say = (command: string) => this.room.host.run('sh', '-c', command)): Promise<void> {
    for (let round = 1; ; round++) {
      const [first] = await this.findings()
      if (!first) break
      assert.ok(round < 9, `It is told although what was advised was done: ${first.detail}`)
      assert.ok((first.fix ?? []).length > 0, `There is advice for: ${first.detail}`)
      for (const command of first.fix ?? []) await say(command)
    }
    assert.deepEqual(await this.arrives(), [true, true, true, true], 'What was advised makes it flow.')
  }
}

async function openScene(t: TestContext, undo: AsyncDisposableStack): Promise<Scene> {
  const room = undo.use(await openNetworkRoom())
  const world = undo.use(await openWorld(t, { network: room.host.path }))
  await room.host.run('ip', 'route', 'add', 'default', 'via', outside.world)
  await room.host.run('ip', '-6', 'route', 'add', 'default', 'via', outside.world6)
  await room.world.run('ip', 'route', 'add', road.ipv4.subnet, 'via', outside.host)
  const guests = []
  for (const [number, body] of [lan, road].entries()) {
    await world.client.call(endpoints.createNetwork, { body })
    const guest = await room.addGuest(body.bridge, { mac: `52:54:00:00:00:0${number + 1}` })
    await room.lease(guest, `web${number + 1}`)
    guests.push(guest)
  }
  const [guest = assert.fail(), routed = assert.fail()] = guests
  await guest.run('ip', 'address', 'add', 'fd00:9::5/64', 'dev', 'eth0', 'nodad')
  await guest.run('ip', '-6', 'route', 'replace', 'default', 'via', 'fd00:9::1')
  for (const at of [room.world, routed]) await room.echo(at, port)
  const scene = new Scene(room, world, [guest, routed])
  assert.deepEqual(await scene.arrives(), [true, true, true, true])
  assert.deepEqual(await scene.findings(), [])
  return scene
}

test('rules of others that drop a network’s packets are named, also those that nft does not tell, and the advice makes them flow', {
  skip,
}, async (t) => {
  await using undo = new AsyncDisposableStack()
  const scene = await openScene(t, undo)
  const { host } = scene.room

  await restore('iptables-nft-restore', dockerRules, host)
  assert.deepEqual(await scene.arrives(), [false, true, true, false], 'Docker drops it.')
  const [docker] = await scene.findings()
  assert.match(
    docker?.detail ?? '',
    /^The policy of chain FORWARD of table ip filter \(iptables\) drops what /,
  )
  await scene.follow()

  for (const rule of ownRules) await host.run('nft', rule)
  assert.deepEqual(await scene.arrives(), [false, true, false, true], 'Hand-made rules reject it.')
  const [door, judge] = (await scene.findings()).map(({ detail }) => detail)
  assert.match(
    door ?? '',
    /^The policy of chain door of table inet mine drops questions of guests to its DNS, questions of guests to its DHCP[, ]/,
  )
  assert.match(
    judge ?? '',
    /^Rule \d+ \(ip saddr 10\.0\.0\.0\/8 counter reject[^)]*\) in chain judge of table inet mine drops .*what guests send out\.$/,
  )
  await scene.follow()
  const shown = await scene.world.cli('network', 'show', 'lan')
  assert.match(shown.stdout, /table inet kvasir_/)

  for (const table of ['inet mine', 'ip filter', 'ip nat'])
    await host.run('nft', 'delete', 'table', ...table.split(' '))
  await restore('iptables-legacy-restore', dockerRules, host)
  await host.run('iptables-legacy', '-t', 'raw', '-A', 'PREROUTING', '-i', 'br-+', '-p', 'udp', '-j', 'DROP')
  await host.run('ip6tables-legacy', '-A', 'FORWARD', '-s', 'fd00::/8', '-j', 'REJECT')
  assert.deepEqual(await scene.arrives(), [false, false, false, false])
  const legacy = (await scene.findings()).map(({ detail }) => detail).join('\n')
  for (const sentence of [
    /^The policy of chain FORWARD of table filter of iptables-legacy drops what /m,
    /^Rule 1 \(-i br-\+ -p udp -j DROP\) in chain PREROUTING of table raw of iptables-legacy drops questions of /m,
    /^Rule 1 \(-s fd00::\/8 -j REJECT .*\) in chain FORWARD of table filter of ip6tables-legacy drops .*what guests send out by IPv6/m,
  ])
    assert.match(legacy, sentence)
  await scene.follow()
})

test('firewalld rejects what guests send until it is told of their bridges, and leaves our rules alone', {
  skip: skip || needs('firewalld'),
}, async (t) => {
  await using undo = new AsyncDisposableStack()
  const scene = await openScene(t, undo)
  const ours = await rulesOfOurs(scene)
  const firewalld = undo.use(await startFirewalld(scene.room.host))

  assert.deepEqual(await scene.arrives(), [false, false, false, false])
  const told = (await scene.findings()).map(({ detail }) => detail).join('\n')
  assert.match(
    told,
    /^Rule \d+ \(reject with icmpx admin-prohibited\) in chain filter_FWD_public of table inet firewalld \(firewalld\) drops .*what guests send out/m,
  )
  await scene.follow(firewalld.do)
  await firewalld.do('firewall-cmd --reload')
  assert.deepEqual(await scene.arrives(), [true, true, true, true], 'It is so after a reload.')
  assert.equal(await rulesOfOurs(scene), ours)
})

test('ufw drops what guests send until it is told of their bridges, and leaves our rules alone', {
  skip: skip || needs('ufw'),
}, async (t) => {
  await using undo = new AsyncDisposableStack()
  const scene = await openScene(t, undo)
  const ours = await rulesOfOurs(scene)
  const ufw = undo.use(await startUfw(scene.room.host))

  assert.deepEqual(await scene.arrives(), [false, false, false, false])
  const told = (await scene.findings()).map(({ detail }) => detail).join('\n')
  assert.match(
    told,
    /^The policy of chain FORWARD of table ip filter \(iptables\) drops .*what guests send out/m,
  )
  await scene.follow(ufw.do)
  await ufw.do('ufw reload')
  assert.deepEqual(await scene.arrives(), [true, true, true, true], 'It is so after a reload.')
  assert.equal(await rulesOfOurs(scene), ours)
})

async function restore(program: string, rules: string, host: Namespace): Promise<void> {
  await host.run('sh', '-c', `${program} <<'END'\n${rules}END`)
}

/** The tables of our networks, as nft(8) prints them. */
async function rulesOfOurs({ room: { host } }: Scene): Promise<string> {
  const tables = (await host.run('nft', 'list', 'tables'))
    .split('\n')
    .filter((line) => line.includes('kvasir'))
  assert.ok(tables.length >= 2)
  let all = ''
  for (const table of tables) all += await host.run('nft', '-s', 'list', ...table.split(' '))
  return all
}
