import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dnsLabel } from './dns-label.ts'
import { dnsmasqConf } from './dnsmasq-conf.ts'
import type { NetworkSpec } from './network-record.ts'

const places = {
  leases: '/var/lib/k/leases',
  pid: '/run/k/pid',
  user: 'dnsmasq',
  group: 'nogroup',
  guests: [] as { mac: string; name: string }[],
}
const lan: NetworkSpec = {
  id: '0b7e9a52-6f0b-4d58-9f61-1f0de8c0a001',
  name: 'lan',
  mode: 'nat',
  bridge: 'br-lan',
  mtu: 1500,
  ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.1', dhcp: { first: '10.9.0.2', last: '10.9.0.254' } },
  ipv6: undefined,
  domain: 'lan.internal',
  reservations: [],
}

function linesOf(network: NetworkSpec, more: Partial<typeof places> = {}): readonly string[] {
  return dnsmasqConf(network, { ...places, ...more }).split('\n')
}

test('it serves the bridge alone, gives up root, and reads no names of the host', () => {
  const lines = linesOf(lan)
  for (const line of ['interface=br-lan', 'except-interface=lo', 'user=dnsmasq', 'group=nogroup', 'no-hosts'])
    assert.ok(lines.includes(line), line)
  assert.ok(lines.includes('dhcp-range=10.9.0.2,10.9.0.254,1h'))
  assert.ok(lines.includes('local=/lan.internal/'))
})

test('an isolated network has no router and asks no other DNS', () => {
  const lines = linesOf({ ...lan, mode: 'isolated' })
  assert.ok(lines.includes('no-resolv'))
  assert.ok(lines.includes('dhcp-option=option:router'))
})

test('IPv6 is announced, with DHCPv6 or without it', () => {
  const ipv6 = { subnet: 'fd00:1::/64', gateway: 'fd00:1::1', dhcp: true }
  assert.ok(linesOf({ ...lan, ipv6 }).includes('dhcp-range=fd00:1::1:0,fd00:1::1:ffff,slaac,64,1h'))
  assert.ok(linesOf({ ...lan, ipv6: { ...ipv6, dhcp: false } }).includes('dhcp-range=fd00:1::,slaac,64,1h'))
  assert.ok(linesOf({ ...lan, mode: 'isolated', ipv6 }).includes('ra-param=*,60,0'))
})

test('what the network reserves stands before what a VM is called, once for each NIC', () => {
  const mac = '52:54:00:00:00:01'
  const network = { ...lan, reservations: [{ mac, address: '10.9.0.9', name: 'db1' }] }
  const guests = [
    { mac, name: 'web1' },
    { mac: '52:54:00:00:00:02', name: 'web2' },
  ]
  const hosts = dnsmasqConf(network, { ...places, guests })
    .split('\n')
    .filter((line) => line.startsWith('dhcp-host='))
  assert.deepEqual(hosts, [
    `dhcp-host=${mac},10.9.0.9,db1.lan.internal`,
    'dhcp-host=52:54:00:00:00:02,web2.lan.internal',
  ])
})

test('a reserved address of IPv6 is given by DHCPv6, with what the VM of the NIC is called and has', () => {
  const mac = '52:54:00:00:00:01'
  const ipv6 = { subnet: 'fd00:1::/64', gateway: 'fd00:1::1', dhcp: true }
  const guests = [{ mac, address: '10.9.0.9', name: 'web1', isGuarded: true }]

  const bare = linesOf({ ...lan, ipv6 }, { guests })
  const reserved = linesOf({ ...lan, ipv6, reservations: [{ mac, ipv6: 'fd00:1::9' }] }, { guests })

  assert.ok(bare.includes(`dhcp-host=${mac},10.9.0.9,[fd00:1::5054:ff:fe00:1],web1.lan.internal`))
  assert.ok(reserved.includes(`dhcp-host=${mac},10.9.0.9,[fd00:1::9],web1.lan.internal`))

  const named = guests.map((guest) => ({ ...guest, ipv6: 'fd00:1::a' }))
  const without = { ...lan, ipv6: { ...ipv6, dhcp: false } }
  assert.ok(
    linesOf({ ...lan, ipv6 }, { guests: named }).includes(
      `dhcp-host=${mac},10.9.0.9,[fd00:1::a],web1.lan.internal`,
    ),
  )
  assert.ok(linesOf(without, { guests: named }).includes(`dhcp-host=${mac},10.9.0.9,web1.lan.internal`))
})

test('a guest with a smaller MTU than its network is told its own, where DHCP tells one', () => {
  const mac = '52:54:00:00:00:01'
  const guests = [{ mac, name: 'web1', mtu: 1400 }]

  const jumbo = linesOf({ ...lan, mtu: 9000 }, { guests })

  assert.ok(jumbo.includes(`dhcp-host=${mac},set:mtu1400,web1.lan.internal`))
  assert.ok(jumbo.includes('dhcp-option-force=option:mtu,9000'))
  assert.ok(jumbo.includes('dhcp-option-force=tag:mtu1400,option:mtu,1400'))
  assert.ok(linesOf(lan, { guests }).includes(`dhcp-host=${mac},web1.lan.internal`))
})

test('a path that means something in the file is quoted', () => {
  assert.ok(linesOf(lan, { leases: '/srv/a #1/"x"' }).includes(String.raw`dhcp-leasefile="/srv/a #1/\"x\""`))
})

test('whatever a VM is called, its line is a MAC address and one name below the domain', () => {
  const mac = '52:54:00:00:00:02'
  const names = [
    'ignore',
    'infinite',
    '45m',
    '7200',
    'LOCALHOST',
    'wpad',
    '_-_',
    '"x"',
    "a'b",
    'a\nport=0',
    '-v',
    'é',
  ]

  for (const name of [...names, 'a'.repeat(300), `${'a'.repeat(62)}.b`]) {
    const lines = linesOf(lan, { guests: [{ mac, name: dnsLabel(name) }] })
    const [line = '', ...more] = lines.filter((each) => each.includes(mac) || each.includes('port='))
    assert.match(line, /^dhcp-host=[0-9a-f:]{17},[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.lan\.internal$/)
    assert.deepEqual(more, [], name)
    assert.doesNotMatch(line, /,(localhost|wpad|isatap)\./)
  }
})
