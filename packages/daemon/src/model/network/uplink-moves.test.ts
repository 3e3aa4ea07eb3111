/** What a host has on a link moves to another, whoever was cut short, and comes back as it was. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asNoted, type LinkAddress, moveLines, nothingOnLink, parseRoute, unionOf } from './uplink-moves.ts'

const four: LinkAddress = {
  family: 'inet',
  local: '192.0.2.7',
  prefixlen: 24,
  scope: 'global',
  label: 'eth0',
}
const second: LinkAddress = { ...four, local: '192.0.2.8', label: 'eth0:1', broadcast: '192.0.2.255' }
const six: LinkAddress = { family: 'inet6', local: '2001:db8::7', prefixlen: 64, scope: 'global', valid: 90 }
const way = { family: 'inet', words: 'default via 192.0.2.1 metric 100' } as const
const way6 = {
  family: 'inet6',
  words: 'default via fe80::1 proto ra metric 1024 pref medium',
  expires: 60,
} as const
const had = { addresses: [four, second, six], routes: [way, way6] }
const [eth0, br0] = ['eth0', 'br0']

test('addresses are on the bridge before routes are, and leave the uplink last', () => {
  const lines = moveLines(had, {
    from: { link: eth0, has: had },
    to: { link: br0, has: nothingOnLink },
    atOnce: true,
  })

  assert.deepEqual(lines, [
    'address add 192.0.2.7/24 dev br0',
    'address add 192.0.2.8/24 broadcast 192.0.2.255 dev br0',
    'address add 2001:db8::7/64 valid_lft 90 preferred_lft 90 nodad dev br0',
    'route delete default via 192.0.2.1 metric 100 dev eth0',
    'route delete ::/0 via fe80::1 proto ra metric 1024 pref medium dev eth0',
    'route add default via 192.0.2.1 metric 100 dev br0',
    'route add ::/0 via fe80::1 proto ra metric 1024 pref medium dev br0 expires 60',
    'address delete 2001:db8::7/64 dev eth0',
    'address delete 192.0.2.8/24 dev eth0',
    'address delete 192.0.2.7/24 dev eth0',
  ])
})

test('who finds half of it done does the other half, and who finds all of it done does nothing', () => {
  const half = moveLines(unionOf(had, { addresses: [six], routes: [] }), {
    from: { link: eth0, has: { addresses: [six], routes: [] } },
    to: { link: br0, has: { addresses: [four, second], routes: [way] } },
    atOnce: true,
  })
  const none = moveLines(had, {
    from: { link: eth0, has: nothingOnLink },
    to: { link: br0, has: had },
    atOnce: true,
  })

  assert.deepEqual(half, [
    'address add 2001:db8::7/64 valid_lft 90 preferred_lft 90 nodad dev br0',
    'route add ::/0 via fe80::1 proto ra metric 1024 pref medium dev br0 expires 60',
    'address delete 2001:db8::7/64 dev eth0',
  ])
  assert.deepEqual(none, [])
})

test('what comes back has the labels and the order that it had', () => {
  const now = { addresses: [second, four].map(({ label: _label, ...address }) => address), routes: [] }

  const { addresses } = asNoted(now, had)

  assert.deepEqual(
    addresses.map(({ local, label }) => [local, label]),
    [
      ['192.0.2.7', 'eth0'],
      ['192.0.2.8', 'eth0:1'],
    ],
  )
})

test('a route is read as it can be written again; what the kernel makes with an address is none', () => {
  const read = (line: string, family: 'inet' | 'inet6' = 'inet') =>
    parseRoute(line, family, [four, six])?.words

  assert.equal(
    read('default via 192.0.2.1 proto static metric 100 linkdown '),
    'default via 192.0.2.1 proto static metric 100',
  )
  assert.equal(
    read('10.9.0.0/16 via 192.0.2.9 table 100 onlink'),
    '10.9.0.0/16 via 192.0.2.9 table 100 onlink',
  )
  assert.equal(read('192.0.2.0/24 proto kernel scope link src 192.0.2.7'), undefined)
  assert.notEqual(read('10.7.0.0/24 proto kernel scope link src 10.7.0.1'), undefined)
  assert.equal(read('local 192.0.2.7 table local proto kernel scope host src 192.0.2.7'), undefined)
  assert.equal(read('fe80::/64 proto kernel metric 256 pref medium', 'inet6'), undefined)
  assert.deepEqual(parseRoute('default via fe80::1 metric 1024 expires 99sec pref medium', 'inet6', []), {
    family: 'inet6',
    words: 'default via fe80::1 metric 1024 pref medium',
    expires: 99,
  })
})
