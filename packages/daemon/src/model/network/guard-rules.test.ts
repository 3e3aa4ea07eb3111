import assert from 'node:assert/strict'
import { test } from 'node:test'
import { derivedAddresses, guardTable } from './guard-rules.ts'
import type { NetworkSpec } from './network-record.ts'
import { ruleSet } from './rule-set.ts'
import type { Wire } from './wires.ts'

const lan: NetworkSpec = {
  id: '0b7e9a52-6f0b-4d58-9f61-1f0de8c0a001',
  name: 'lan',
  mode: 'nat',
  bridge: 'br-lan',
  mtu: 1500,
  ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.1', dhcp: undefined },
  ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::1', dhcp: true },
  domain: 'lan.internal',
  reservations: [],
}

function wire(number: number, more: Partial<Wire>): Wire {
  const names = { vm: `web${number}`, nic: 'net0', network: 'lan', tap: `kvt${number}` }
  const addresses = { mac: `52:54:00:00:00:0${number}`, address: `10.9.0.${number}` }
  return { ...names, ...addresses, forwards: [], antiSpoof: false, isolated: false, ...more }
}

test('the addresses of IPv6 that a guest may have follow from its MAC address (RFC 4291, appendix A)', () => {
  assert.deepEqual(derivedAddresses('34:56:78:9a:bc:de', lan), [
    'fe80::3656:78ff:fe9a:bcde',
    'fd00:1::3656:78ff:fe9a:bcde',
  ])
  assert.deepEqual(derivedAddresses('52:54:00:00:00:01', { ipv6: undefined }), ['fe80::5054:ff:fe00:1'])
})

test('a network without guards asks the kernel for no table of bridges, and takes one that is left away', () => {
  assert.deepEqual(guardTable(lan, [wire(2, {})]), [])
  assert.ok(!ruleSet(lan, [wire(2, {})], { hasGuards: false }).includes('bridge kvasir'))
  assert.match(ruleSet(lan, [], { hasGuards: true }), /^delete table bridge kvasir_[0-9a-f]{10}$/m)
})

test('each guarded tap has its own sets and its own chain, and only isolated ones are kept from each other', () => {
  const lines = guardTable(lan, [
    wire(2, { antiSpoof: true }),
    wire(3, { antiSpoof: true, isolated: true }),
    wire(4, { isolated: true }),
    wire(5, {}),
  ]).map((line) => line.trim())

  assert.ok(lines.includes('iifname vmap { "kvt2" : jump kvt2, "kvt3" : jump kvt3 }'))
  assert.ok(lines.includes('elements = { "kvt3", "kvt4" }'))
  assert.ok(lines.includes('elements = { fe80::5054:ff:fe00:2, fd00:1::5054:ff:fe00:2 }'))
  const jumps = '{ "kvt3" : jump kvt3_isolated, "kvt4" : jump kvt4_isolated }'
  assert.ok(lines.includes(`iifname @isolated oifname @isolated iifname vmap ${jumps}`))
  assert.equal(lines.filter((line) => line.endsWith(`.1 iifname vmap ${jumps}`)).length, 1)
  assert.equal(lines[lines.indexOf('chain kvt4_isolated {') + 1], 'counter packets 0 bytes 0 drop')
  assert.deepEqual(
    lines.filter((line) => line.startsWith('set ')),
    ['set kvt2_4 {', 'set kvt2_6 {', 'set kvt3_4 {', 'set kvt3_6 {', 'set isolated {'],
  )
  assert.ok(!lines.some((line) => line.includes('kvt5')))
})

test('an address of IPv6 that is reserved for a guest is its own too', () => {
  const reservations = [
    { mac: '52:54:00:00:00:02', ipv6: 'fd00:1::9' },
    { mac: '52:54:00:00:00:03', ipv6: 'fd00:1::a' },
  ]

  const text = guardTable({ ...lan, reservations }, [wire(2, { antiSpoof: true })]).join('\n')

  assert.match(text, /elements = \{ fe80::5054:ff:fe00:2, fd00:1::5054:ff:fe00:2, fd00:1::9 \}/)
  assert.match(text, /nd-neighbor-advert @th,64,128 0xfd000001000000000000000000000009 accept/)
})

test('an address of IPv6 that a NIC names is its own too, once', () => {
  const derived = 'fd00:1::5054:ff:fe00:2'
  const own = (ipv6: string) => guardTable(lan, [wire(2, { antiSpoof: true, ipv6 })]).join('\n')

  assert.match(own('fd00:1::9'), /elements = \{ fe80::5054:ff:fe00:2, fd00:1::5054:ff:fe00:2, fd00:1::9 \}/)
  assert.match(own(derived), /elements = \{ fe80::5054:ff:fe00:2, fd00:1::5054:ff:fe00:2 \}/)
})

test('what is limited of a tap is so before a guard accepts it, each way by a chain of its own', () => {
  const lines = guardTable(lan, [
    wire(2, { antiSpoof: true, limits: { send: 1_000_000, receive: 2_000_000 } }),
    wire(3, { limits: { receive: 3_000_000 } }),
  ]).map((line) => line.trim())

  const jumps = lines.filter((line) => line.includes('vmap'))
  assert.deepEqual(jumps, [
    'iifname vmap { "kvt2" : jump kvt2_send }',
    'iifname vmap { "kvt2" : jump kvt2 }',
    'oifname vmap { "kvt2" : jump kvt2_receive, "kvt3" : jump kvt3_receive }',
  ])
  assert.equal(
    lines[lines.indexOf('chain kvt3_receive {') + 1],
    'limit rate over 3000000 bytes/second burst 131072 bytes counter packets 0 bytes 0 drop',
  )
})

test('what a guard refuses is counted in one chain of its tap, which goes on from what it had', () => {
  const counts = new Map([['kvt2_drop', { packets: 7, bytes: 700 }]])

  const lines = guardTable(lan, [wire(2, { antiSpoof: true }), wire(3, { antiSpoof: true })], counts).map(
    (line) => line.trim(),
  )

  const countOf = (tap: string) => lines[lines.indexOf(`chain ${tap}_drop {`) + 1]
  assert.equal(countOf('kvt2'), 'counter packets 7 bytes 700 drop')
  assert.equal(countOf('kvt3'), 'counter packets 0 bytes 0 drop')
  assert.equal(lines.filter((line) => line.endsWith(' drop')).length, 2, 'Nothing is dropped uncounted.')
})

test('on a bridge of somebody else a guest is held to what its NIC names, and sends tags with a trunk alone', () => {
  const office: NetworkSpec = { ...lan, mode: 'bridge', ipv4: undefined, ipv6: undefined }
  const of = (more: Partial<Wire>) => guardTable(office, [wire(2, { antiSpoof: true, ...more })]).join('\n')

  assert.match(of({}), /set kvt2_4 \{\n +type ipv4_addr\n +elements = \{ 10\.9\.0\.2 \}/)
  assert.match(of({}), /@ll,96,16 0x8100 goto kvt2_drop/)
  assert.doesNotMatch(of({ trunk: [7] }), /0x8100/)
  assert.match(of({ address: undefined }), /meta protocol ip accept/)
  assert.match(of({ ipv6: '2001:db8::9' }), /ip6 saddr 2001:db8::9 accept/)
})
