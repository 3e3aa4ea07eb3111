import assert from 'node:assert/strict'
import { test } from 'node:test'
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
  ipv6: undefined,
  domain: 'lan.internal',
  reservations: [],
}

function rulesOf(network: NetworkSpec, wires: readonly Wire[] = []): readonly string[] {
  return ruleSet(network, wires, { hasGuards: false })
    .split('\n')
    .map((line) => line.trim())
}

test('the table is put in place as a whole: it is there to be deleted, deleted, and made, in one transaction', () => {
  const [add, remove, table, comment] = rulesOf(lan)
  assert.match(add ?? '', /^add table inet kvasir_[0-9a-f]{10}$/)
  assert.equal(remove, add?.replace('add', 'delete'))
  assert.equal(table, `${add?.replace('add ', '')} {`)
  assert.equal(comment, `comment "kvasir network ${lan.id}"`)
})

test('what leaves a nat network by another link is masqueraded, and only answers come in', () => {
  const rules = rulesOf(lan)
  assert.deepEqual(
    rules.filter((rule) => rule.includes('masquerade')),
    [
      'oifname != "br-lan" ip saddr 10.9.0.0/24 ip daddr != { 10.9.0.0/24, 224.0.0.0/4, 255.255.255.255 } masquerade',
    ],
  )
  assert.ok(rules.includes('oifname "br-lan" ip daddr 10.9.0.0/24 ct state established,related accept'))
  assert.ok(rules.includes('oifname "br-lan" reject with icmpx type admin-prohibited'))
})

test('a routed network is reached from outside and translates nothing', () => {
  const rules = rulesOf({ ...lan, mode: 'routed' })
  assert.ok(!rules.some((rule) => rule.includes('masquerade')))
  assert.ok(rules.includes('oifname "br-lan" ip daddr 10.9.0.0/24 accept'))
})

test('of an isolated network nothing is forwarded, and the host is reached at its own address there alone', () => {
  const rules = rulesOf({ ...lan, mode: 'isolated' })
  assert.deepEqual(
    rules.filter((rule) => rule.startsWith('iifname') || rule.startsWith('oifname')),
    [
      'iifname "br-lan" ip daddr { 10.9.0.0/24, 255.255.255.255, 224.0.0.0/4 } accept',
      'iifname "br-lan" drop',
      'iifname "br-lan" oifname "br-lan" accept',
      'iifname "br-lan" reject with icmpx type admin-prohibited',
      'oifname "br-lan" reject with icmpx type admin-prohibited',
    ],
  )
})

test('each family has rules of its own, and one that is not there is refused', () => {
  const rules = rulesOf({ ...lan, ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::1', dhcp: true } })
  assert.ok(rules.includes('iifname "br-lan" ip6 saddr fd00:1::/64 accept'))
  assert.equal(rules.filter((rule) => rule.endsWith('masquerade')).length, 2)
  assert.ok(!rulesOf(lan).some((rule) => rule.includes('ip6')))
})

test('ports of the host lead to a guest, and the loopback of the host stays the host’s', () => {
  const forward = (hostAddress: string, hostPort: number) =>
    ({ protocol: 'tcp', hostAddress, hostPort, guestPort: 80 }) as const
  const wire = {
    vm: 'web1',
    nic: 'net0',
    network: 'lan',
    tap: 'kvt1',
    mac: '52:54:00:00:00:01',
    antiSpoof: false,
    isolated: false,
  }
  const forwards = [forward('0.0.0.0', 8080), forward('127.0.0.1', 8081), forward('192.0.2.7', 8082)]

  const rules = rulesOf(lan, [{ ...wire, address: '10.9.0.9', forwards }])

  const turned = rules.filter((rule) => rule.includes(' dnat ip to '))
  const everywhere = 'meta nfproto ipv4 fib daddr type local tcp dport 8080 dnat ip to 10.9.0.9:80'
  const loopback = 'ip daddr 127.0.0.1 tcp dport 8081 dnat ip to 10.9.0.9:80'
  const one = 'ip daddr 192.0.2.7 tcp dport 8082 dnat ip to 10.9.0.9:80'
  assert.deepEqual(turned, [everywhere, one, everywhere, loopback, one])
  assert.ok(rules.includes('oifname "br-lan" ip daddr 10.9.0.9 tcp dport 80 ct status dnat accept'))
  assert.ok(rules.includes('oifname "br-lan" ip saddr 10.9.0.0/24 ct status dnat masquerade'))
  assert.ok(rulesOf(lan).includes('iifname "br-lan" ip daddr 127.0.0.0/8 drop'))
  assert.ok(!rulesOf(lan).some((rule) => rule.includes('dnat ')))
})

test('of somebody else’s bridge no packet is judged, but by what guards a NIC', () => {
  const office: NetworkSpec = { ...lan, mode: 'bridge', ipv4: undefined }

  assert.equal(ruleSet(office, [], { hasGuards: false }), '')
  assert.match(
    ruleSet(office, [], { hasGuards: true }),
    /^add table bridge kvasir_[0-9a-f]+\ndelete table bridge/,
  )
})
