/** Firewalls of others that drop what a network's guests send: it is said which rule does, and what is advised makes the packets flow. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endpoints, type Network } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { type Namespace, openNetworkRoom, outside } from '../machine/network-room.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const port = 443

/** What Docker makes with iptables-nft, as far as the way of others' packets goes. */
const dockerRules = [
  'add table ip filter',
  'add chain ip filter DOCKER-USER',
  'add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }',
  'add rule ip filter FORWARD counter jump DOCKER-USER',
  'add rule ip filter FORWARD oifname "docker0" ct state related,established accept',
  'add rule ip filter FORWARD iifname "docker0" oifname != "docker0" accept',
]

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

test('rules of others that drop a network’s packets are named, and the advice makes them flow', {
  skip,
}, async (t) => {
  await using room = await openNetworkRoom()
  await using world = await openWorld(t, { network: room.host.path })
  const { host } = room
  await host.run('ip', 'route', 'add', 'default', 'via', outside.world)
  const lan = await world.client.call(endpoints.createNetwork, {
    body: { name: 'lan', bridge: 'br-lan', ipv4: { subnet: '10.9.0.0/24' } },
  })
  const guest = await room.addGuest(lan.bridge, { mac: '52:54:00:00:00:01' })
  await room.lease(guest, 'web1')
  await room.echo(room.world, port)
  const dropped = async () =>
    (await world.client.call(endpoints.getNetwork, { params: { network: 'lan' } })).findings
  const flows = async () => (await guest.seenAs(outside.world, port)) === outside.host
  // What is dropped has no end to wait for.
  const soon = ['busybox', 'timeout', '3', 'busybox']
  const isDropped = async () => !(await guest.can(...soon, 'nc', outside.world, String(port)))
  assert.ok(await flows())
  assert.deepEqual(await dropped(), [])

  for (const rule of dockerRules) await host.run('nft', rule)
  assert.ok(await isDropped(), 'Docker drops it.')
  const [docker] = await dropped()
  assert.match(
    docker?.detail ?? '',
    /^The policy of chain FORWARD of table ip filter \(iptables\) drops what /,
  )
  await follow(docker, host)
  assert.deepEqual(await dropped(), [])
  assert.ok(await flows(), 'What was advised makes it flow.')

  for (const rule of ownRules) await host.run('nft', rule)
  assert.ok(await isDropped(), 'A hand-made rule rejects it.')
  assert.ok(!(await guest.can(...soon, 'nslookup', 'web1.lan.internal', '10.9.0.1')))
  const findings = await dropped()
  const [door, judge, ...others] = findings.map(({ detail }) => detail)
  assert.deepEqual(others, [])
  assert.equal(
    door,
    'The policy of chain door of table inet mine drops questions of guests to its DNS and questions of guests to its DHCP.',
  )
  assert.match(
    judge ?? '',
    /^Rule \d+ \(ip saddr 10\.0\.0\.0\/8 counter reject[^)]*\) in chain judge of table inet mine drops .*what guests send out\.$/,
  )
  for (const finding of findings) await follow(finding, host)
  assert.deepEqual(await dropped(), [])
  assert.ok(await flows())
  assert.ok(await guest.can('busybox', 'nslookup', 'web1.lan.internal', '10.9.0.1'))

  const shown = await world.cli('network', 'show', 'lan')
  assert.match(shown.stdout, /table inet kvasir_/)
})

/** Does what a finding advises; where iptables is not installed, with the rules that iptables-nft makes of it. */
async function follow(finding: Network['findings'][number] | undefined, host: Namespace): Promise<void> {
  const commands = finding?.fix ?? []
  assert.ok(commands.length > 0, `There is advice for: ${finding?.detail}`)
  for (const command of commands) {
    const [chain, flag, link] = /^iptables -I (\S+) -([io]) (\S+) -j ACCEPT$/.exec(command)?.slice(1) ?? []
    if (chain === undefined) await host.run('sh', '-c', command)
    else await host.run('nft', `insert rule ip filter ${chain} ${flag}ifname ${link} counter accept`)
  }
}
