import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostLink } from './host-network.ts'
import { lacksEgress } from './lan-guards.ts'
import { tableName } from './link-names.ts'
import { holderOfLink, macvtapGroup, macvtapLinkOf, passthruHarm, reachOf } from './macvtap.ts'
import { macvtapTable } from './macvtap-rules.ts'
import type { Wire } from './wires.ts'

const id = '0b6b3c1e-2a39-4a0e-8f7e-6a1d2c3b4a59'
const link = { kind: undefined, mac: undefined, mtu: 1500, bridge: undefined }
const eth0: HostLink = { ...link, name: 'eth0' }
const wire: Wire = {
  vm: 'web1',
  nic: 'net0',
  network: 'lan',
  tap: 'kvt0123456789',
  mac: '52:54:00:00:00:01',
  address: undefined,
  forwards: [],
  antiSpoof: false,
  isolated: false,
}

test('guests are put on a link of the host, a VLAN or a bond, and told why not on any other', () => {
  const links: readonly HostLink[] = [
    eth0,
    { ...link, name: 'eth0.7', kind: 'vlan' },
    { ...link, name: 'bond0', kind: 'bond' },
    { ...link, name: 'br0', kind: 'bridge' },
    { ...link, name: 'eth1', bridge: 'br0' },
    { ...link, name: 'eth2', isDown: true },
    { ...link, name: 'wlan0', isWireless: true },
    { ...link, name: 'lo', type: 'loopback' },
    { ...link, name: 'tap0', kind: 'tun' },
    { ...link, name: 'mv0', kind: 'macvlan' },
  ]
  for (const name of ['eth0', 'eth0.7', 'bond0'])
    assert.equal(typeof macvtapLinkOf(name, links), 'object', name)
  const refusals = [
    ['eth9', /the host has no link eth9; guests can be put on eth0, eth0\.7, bond0$/],
    ['br0', /--mode bridge --bridge br0/],
    ['eth1', /is a port of br0/],
    ['eth2', /is down; ip link set eth2 up/],
    ['wlan0', /is wireless/],
    ['lo', /is no Ethernet \(loopback\)/],
    ['tap0', /is the tap of a program/],
    ['mv0', /name the link below it/],
  ] as const
  for (const [name, sentence] of refusals) {
    const said = macvtapLinkOf(name, links)
    assert.match(typeof said === 'string' ? said : '', sentence)
  }
})

test('the host loses its addresses and its way out to a guest that has the link for itself', () => {
  const addresses = [
    { link: 'eth0', address: '192.0.2.7/24' },
    { link: 'eth0', address: 'fe80::1/64' },
    { link: 'eth1', address: 'fe80::2/64' },
  ]
  const ways = [{ link: 'eth0', via: '192.0.2.1', isShared: false }]
  const host = { links: [], addresses, routes: [], ways }

  assert.match(
    passthruHarm('eth0', host) ?? '',
    /its address 192\.0\.2\.7\/24 and its way out .* be reached there no more/,
  )
  assert.match(passthruHarm('eth0', { ...host, addresses: [] }) ?? '', /has its way out/)
  assert.equal(passthruHarm('eth1', host), undefined, 'An address that each link has is nothing to lose.')
})

test('the mark of a network’s macvtaps is a group that the kernel takes, and another one for another network', () => {
  const group = macvtapGroup(id)
  assert.ok(Number.isSafeInteger(group) && group > 0 && group < 2 ** 31)
  assert.notEqual(group, macvtapGroup(id.replace('0b', '0c')))
})

test('every mode says whom its guests reach', () => {
  assert.match(
    reachOf('eth0', 'bridge'),
    /reach each other and the LAN of eth0\. This host and its guests do not/,
  )
  assert.match(reachOf('eth0', 'private'), /never each other/)
  assert.match(reachOf('eth0', 'passthru'), /the host receives nothing by it/)
})

test('a link that one guest has for itself has no place for a second NIC', () => {
  assert.equal(holderOfLink([wire], { vm: 'web1', nic: 'net0' }), undefined)
  assert.equal(holderOfLink([wire], { vm: 'web2', nic: 'net0' })?.vm, 'web1')
  assert.equal(holderOfLink([wire], { vm: 'web1', nic: 'net1' })?.nic, 'net0')
})

test('limits are chains at both ends of the macvtap, and there is no table without any', () => {
  assert.deepEqual(macvtapTable({ id }, [wire]), [])

  const text = macvtapTable({ id }, [{ ...wire, limits: { send: 125_000, receive: 250_000 } }]).join('\n')

  assert.match(text, new RegExp(`^table netdev ${tableName(id)} \\{\n {2}comment "kvasir network ${id}"`))
  assert.match(text, /hook egress device "kvt0123456789"[^}]*over 125000 bytes\/second/)
  assert.match(text, /hook ingress device "kvt0123456789"[^}]*over 250000 bytes\/second/)
})

test('why a host has no rules at macvtaps is said where it lacks the hook that they take', () => {
  for (const said of [
    'Error: unknown chain hook type filter hook egress device "kvt1"',
    'syntax error, unexpected string, expecting egress',
    'Error: Could not process rule: Operation not supported',
  ])
    assert.match(lacksEgress(said) ?? '', /Linux has from 5\.16 on and nft from 1\.0\.1/)
  assert.equal(lacksEgress('Could not process rule: No such file or directory'), undefined)
})
