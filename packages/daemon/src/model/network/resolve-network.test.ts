import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewNetworkInput, newNetwork } from '@kvasir/contract'
import { takenSubnets } from './collisions.ts'
import type { HostNetwork } from './host-network.ts'
import { bridgeMac, bridgeName, tableName } from './link-names.ts'
import type { NetworkSpec } from './network-record.ts'
import { resolveNetwork } from './resolve-network.ts'

const id = '0b7e9a52-6f0b-4d58-9f61-1f0de8c0a001'
const bare: HostNetwork = { links: [], addresses: [], routes: [] }

function resolve(
  wanted: Omit<NewNetworkInput, 'name'>,
  {
    host = bare,
    networks = [],
  }: { readonly host?: HostNetwork; readonly networks?: readonly NetworkSpec[] } = {},
): NetworkSpec {
  return resolveNetwork(newNetwork.parse({ name: 'lan', ...wanted }), {
    id,
    taken: takenSubnets(host, networks),
    host,
  })
}

function refusal(wanted: Omit<NewNetworkInput, 'name'>, options: Parameters<typeof resolve>[1] = {}): string {
  try {
    resolve(wanted, options)
  } catch (error) {
    assert.ok(error instanceof Error && 'code' in error && error.code === 'network-refused', String(error))
    return error.message
  }
  return assert.fail('It is not refused.')
}

test('a network of which nothing is said gets a free subnet, its first address, and the rest for guests', () => {
  const { ipv4, ipv6, mode, domain, bridge } = resolve({})

  assert.deepEqual(ipv4, {
    subnet: '192.168.150.0/24',
    gateway: '192.168.150.1',
    dhcp: { first: '192.168.150.2', last: '192.168.150.254' },
  })
  assert.deepEqual(
    { ipv6, mode, domain, bridge },
    {
      ipv6: undefined,
      mode: 'nat',
      domain: 'lan.internal',
      bridge: bridgeName(id),
    },
  )
})

test('a free subnet collides with no address, no route and no other network', () => {
  const host: HostNetwork = {
    links: [],
    addresses: [{ link: 'eth0', address: '192.168.150.7/22' }],
    routes: [
      { link: 'wg0', to: '192.168.152.0/21' },
      { link: 'tun0', to: '0.0.0.0/1' }, // A default route in two halves.
    ],
  }
  const first = resolve({}, { host })
  assert.equal(first.ipv4?.subnet, '192.168.160.0/24')

  assert.equal(resolve({}, { host, networks: [first] }).ipv4?.subnet, '192.168.161.0/24')
})

test('a subnet that collides is refused, and what it collides with is named', () => {
  const subnet = '10.20.0.0/16'
  const host = { ...bare, addresses: [{ link: 'eth0', address: '10.20.3.4/24' }] }
  assert.match(
    refusal({ ipv4: { subnet } }, { host }),
    /10\.20\.0\.0\/16 collides with the address 10\.20\.3\.4\/24 of link eth0/,
  )
  const routed = { ...bare, routes: [{ link: 'wg0', to: '10.0.0.0/8' }] }
  assert.match(
    refusal({ ipv4: { subnet } }, { host: routed }),
    /the host's route to 10\.0\.0\.0\/8 by link wg0/,
  )
  const other = { ...resolve({ ipv4: { subnet: '10.20.30.0/24' } }), name: 'other' }
  assert.match(refusal({ ipv4: { subnet } }, { networks: [other] }), /network other/)
})

test('a DHCP range lies inside the subnet, beside its gateway, and ends after it begins', () => {
  const of = (first: string, last: string) => ({ ipv4: { subnet: '10.9.0.0/24', dhcp: { first, last } } })

  assert.deepEqual(resolve(of('10.9.0.100', '10.9.0.200')).ipv4?.dhcp, {
    first: '10.9.0.100',
    last: '10.9.0.200',
  })
  assert.match(refusal(of('10.9.0.100', '10.9.1.10')), /is not inside 10\.9\.0\.0\/24/)
  assert.match(refusal(of('10.9.0.100', '10.9.0.255')), /is not inside/)
  assert.match(refusal(of('10.9.0.200', '10.9.0.100')), /ends before it begins/)
  assert.match(refusal(of('10.9.0.1', '10.9.0.100')), /holds its gateway/)
})

test('the range goes to the larger side of a gateway in the middle', () => {
  const { ipv4 } = resolve({ ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.254' } })
  assert.deepEqual(ipv4?.dhcp, { first: '10.9.0.1', last: '10.9.0.253' })
})

test('what is no subnet for guests is refused', () => {
  const cases: readonly (readonly [Omit<NewNetworkInput, 'name'>, RegExp])[] = [
    [{ ipv4: { subnet: '10.9.0.5/24' } }, /an address in the subnet 10\.9\.0\.0\/24/],
    [{ ipv4: { subnet: '127.0.0.0/24' } }, /is the loopback/],
    [{ ipv4: { subnet: '169.254.10.0/24' } }, /is link-local/],
    [{ ipv4: { subnet: '10.9.0.0/31' } }, /prefix of 8 to 30 bits/],
    [{ ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.1.1' } }, /no address of a host/],
    [{ ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.255' } }, /no address of a host/],
    [{ ipv6: { subnet: 'fd00:1::/48' } }, /must be a \/64/],
    [{ ipv6: { subnet: 'fe80::/64' } }, /is link-local/],
    [{ ipv4: false }, /neither IPv4 nor IPv6/],
    [{ mode: 'routed' }, /routed one needs a subnet/],
  ]
  for (const [wanted, sentence] of cases) assert.match(refusal(wanted), sentence)
})

test('a reservation is an address for a guest, and nothing is reserved twice', () => {
  const ipv4 = { subnet: '10.9.0.0/24' }
  const mac = '52:54:00:00:00:01'
  const other = '52:54:00:00:00:02'

  assert.equal(
    resolve({ ipv4, reservations: [{ mac, address: '10.9.0.9' }] }).reservations[0]?.address,
    '10.9.0.9',
  )
  assert.match(refusal({ ipv4, reservations: [{ mac, address: '10.8.0.9' }] }), /no address for a guest/)
  assert.match(refusal({ ipv4, reservations: [{ mac, address: '10.9.0.1' }] }), /no address for a guest/)
  const twice = [
    { mac, address: '10.9.0.9' },
    { mac: other, address: '10.9.0.9' },
  ]
  assert.match(refusal({ ipv4, reservations: twice }), /the address 10\.9\.0\.9 twice/)
  assert.match(
    refusal({ ipv4: { ...ipv4, dhcp: false }, reservations: [{ mac, address: '10.9.0.9' }] }),
    /no DHCP/,
  )
})

test('a reservation of IPv6 is in the subnet, not the gateway, and given by DHCPv6', () => {
  const ipv6 = { subnet: 'fd00:1::/64', dhcp: true }
  const [mac, other] = ['52:54:00:00:00:01', '52:54:00:00:00:02']
  const reserved = (address: string, more = {}) => ({ ipv6, ...more, reservations: [{ mac, ipv6: address }] })

  assert.equal(resolve(reserved('FD00:1:0::0009')).reservations[0]?.ipv6, 'fd00:1::9')
  for (const address of ['fd00:2::9', 'fd00:1::1', 'fd00:1::'])
    assert.match(refusal(reserved(address)), /no address for a guest in fd00:1::\/64/, address)
  assert.match(refusal(reserved('fd00:1::9', { ipv6: { ...ipv6, dhcp: false } })), /has no DHCP of IPv6/)
  assert.match(refusal(reserved('fd00:1::9', { ipv6: undefined })), /has no DHCP of IPv6/)
  const twice = [
    { mac, ipv6: 'fd00:1::9' },
    { mac: other, ipv6: 'fd00:1:0::9' },
  ]
  assert.match(refusal({ ipv6, reservations: twice }), /the address fd00:1::9 twice/)
})

test('the names on the host fit into 15 bytes, follow from the id, and are others for another network', () => {
  assert.equal(bridgeName(id), bridgeName(id))
  assert.ok(bridgeName(id).length <= 15)
  assert.match(bridgeMac(id), /^02(:[0-9a-f]{2}){5}$/)
  const other = id.replace('0b', '0c')
  for (const name of [bridgeName, bridgeMac, tableName]) assert.notEqual(name(id), name(other))
})

test('a network of mode bridge is a bridge of the host with its MTU, and gives nothing', () => {
  const link = { mac: undefined, bridge: undefined, mtu: 9000 }
  const host = {
    ...bare,
    links: [
      { ...link, name: 'br0', kind: 'bridge' },
      { ...link, name: 'eth0', kind: undefined },
    ],
  }
  const bridged = { mode: 'bridge', bridge: 'br0' } as const

  const { bridge, mtu, ipv4, ipv6 } = resolve(bridged, { host })
  assert.deepEqual([bridge, mtu, ipv4, ipv6], ['br0', 9000, undefined, undefined])

  assert.match(refusal({ mode: 'bridge' }, { host }), /needs the name of a bridge of the host/)
  assert.match(refusal({ ...bridged, bridge: 'br1' }, { host }), /has no link br1; its bridges are br0/)
  assert.match(refusal({ ...bridged, bridge: 'eth0' }, { host }), /eth0 of the host is no bridge/)
  for (const given of [
    { ipv4: { subnet: '10.9.0.0/24' } },
    { domain: 'a.example' },
    { ipv6: { subnet: 'fd00:1::/64' } },
  ])
    assert.match(refusal({ ...bridged, ...given }, { host }), /neither addresses nor names/)
})

test('a network of mode macvtap is a link of the host with its MTU or a smaller one, and gives nothing', () => {
  const links = [{ name: 'eth0', kind: undefined, mac: undefined, bridge: undefined, mtu: 9000 }]
  const host = { ...bare, links }
  const wanted = { mode: 'macvtap', link: 'eth0' } as const

  const { bridge, macvtap, mtu, ipv4 } = resolve(wanted, { host })
  assert.deepEqual([bridge, macvtap, mtu, ipv4], ['eth0', 'bridge', 9000, undefined])
  assert.equal(resolve({ ...wanted, mtu: 1500 }, { host }).mtu, 1500)
  assert.equal(resolve({ ...wanted, macvtapMode: 'passthru', force: true }, { host }).forced, true)

  const cases: readonly (readonly [Omit<NewNetworkInput, 'name'>, RegExp])[] = [
    [{ mode: 'macvtap' }, /needs the name of a link of the host/],
    [{ ...wanted, mtu: 9001 }, /the link eth0 takes packets of 9000 bytes at most/],
    [{ ...wanted, bridge: 'br0' }, /and no bridge/],
    [{ ...wanted, force: true }, /only a link that one guest has for itself/],
    [{ ...wanted, ipv4: { subnet: '10.9.0.0/24' } }, /of mode macvtap gives neither addresses nor names/],
    [{ link: 'eth0' }, /only one of mode macvtap has a link, and it is nat/],
    [{ macvtapMode: 'vepa' }, /only one of mode macvtap has a macvtapMode/],
  ]
  for (const [given, sentence] of cases) assert.match(refusal(given, { host }), sentence)
})
