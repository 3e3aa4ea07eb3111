import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  formatAddress,
  formatSubnet,
  isInside,
  lastOf,
  overlap,
  parseAddress,
  parseSubnet,
} from './address.ts'

function subnet(text: string) {
  const parsed = parseSubnet(text)
  assert.ok(parsed, text)
  return parsed
}

function address(text: string) {
  const parsed = parseAddress(text)
  assert.ok(parsed, text)
  return parsed
}

test('an address is read and written as people write it', () => {
  const forms = {
    '10.0.0.1': '10.0.0.1',
    '255.255.255.255': '255.255.255.255',
    '::': '::',
    '::1': '::1',
    'FD00::00AB:1': 'fd00::ab:1',
    'fd00:0:0:1:0:0:0:1': 'fd00:0:0:1::1',
    '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
    '::ffff:192.0.2.1': '::ffff:c000:201',
  }
  for (const [text, expected] of Object.entries(forms)) assert.equal(formatAddress(address(text)), expected)
})

test('what is no address is none', () => {
  const bad = [
    '',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '1.2.3.4.5',
    '1::2::3',
    ':1',
    '1:2:3:4:5:6:7',
    'fe80::1%eth0',
  ]
  for (const text of [...bad, '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::8:9', 'g::', '10.0.0.-1', '12345::'])
    assert.equal(parseAddress(text), undefined, text)
})

test('a subnet is what an address with a prefix lies in', () => {
  assert.equal(formatSubnet(subnet('192.168.150.77/24')), '192.168.150.0/24')
  assert.equal(formatSubnet(subnet('fd00:1:2:3:4::5/64')), 'fd00:1:2:3::/64')
  assert.equal(formatSubnet(subnet('0.0.0.0/0')), '0.0.0.0/0')
  for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1'])
    assert.equal(parseSubnet(text), undefined, text)
})

test('two subnets overlap when one lies in the other, and never across families', () => {
  assert.ok(overlap(subnet('10.0.0.0/8'), subnet('10.1.2.0/24')))
  assert.ok(overlap(subnet('10.1.2.0/24'), subnet('10.0.0.0/8')))
  assert.ok(!overlap(subnet('10.1.2.0/24'), subnet('10.1.3.0/24')))
  assert.ok(!overlap(subnet('0.0.0.0/0'), subnet('::/0')))
  assert.ok(isInside(address('10.1.2.255'), subnet('10.1.2.0/24')))
  assert.ok(!isInside(address('10.1.3.0'), subnet('10.1.2.0/24')))
  assert.equal(formatAddress({ family: 4, value: lastOf(subnet('10.1.2.0/23')) }), '10.1.3.255')
})
