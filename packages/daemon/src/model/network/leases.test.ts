import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseLeases } from './leases.ts'

const nowMs = Date.UTC(2026, 0, 1)
const later = nowMs / 1000 + 3600

test('leases are read as dnsmasq writes them, those of DHCPv6 with the MAC address in their DUID', () => {
  const text = [
    `${later} 52:54:00:00:00:01 10.9.0.7 web1 01:52:54:00:00:00:01`,
    '0 52:54:00:00:00:02 10.9.0.8 * *',
    'duid 00:01:00:01:2c:aa:bb:cc:52:54:00:00:00:ff',
    `${later} 12345 fd00:1::1:5 web1 00:01:00:01:2c:aa:bb:cc:52:54:00:00:00:01`,
    `${later} T12345 fd00:1::1:6 * 00:03:00:01:52:54:00:00:00:03`,
    `${later} 9 fd00:1::1:7 * 00:04:11:22`,
    '',
  ].join('\n')

  const leases = parseLeases(text, nowMs)

  assert.deepEqual(
    leases.map(({ address, mac, name }) => [address, mac, name]),
    [
      ['10.9.0.7', '52:54:00:00:00:01', 'web1'],
      ['10.9.0.8', '52:54:00:00:00:02', undefined],
      ['fd00:1::1:5', '52:54:00:00:00:01', 'web1'],
      ['fd00:1::1:6', '52:54:00:00:00:03', undefined],
      ['fd00:1::1:7', undefined, undefined],
    ],
  )
  assert.equal(leases[0]?.expiresAt, '2026-01-01T01:00:00.000Z')
  assert.equal(leases[1]?.expiresAt, undefined)
})

test('a lease that has ended is none, and neither is a line that was half written', () => {
  const text = [
    `${nowMs / 1000 - 1} 52:54:00:00:00:01 10.9.0.7 web1 *`,
    `${later} 52:54:00`,
    `${later}`,
    'x y z',
  ].join('\n')
  assert.deepEqual(parseLeases(text, nowMs), [])
})
