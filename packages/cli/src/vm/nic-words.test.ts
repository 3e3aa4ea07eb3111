import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nicSpec } from '@kvasir/contract'
import { UsageError } from '../usage-error.ts'
import { changedNic, parseNic, parseNicChange } from './nic-words.ts'

test('queues, an MTU and offloads are words of a NIC, and go by none', () => {
  const nic = nicSpec.parse(parseNic('network=lan,queues=2,mtu=1400,offloads=off', 'net0'))
  const bare = nicSpec.parse(changedNic(nic, parseNicChange('queues=none,mtu=none,offloads=on')))
  const without = nicSpec.parse(changedNic(bare, parseNicChange('offloads=none,mode=user')))

  assert.deepEqual([nic.queues, nic.mtu, nic.offloads], [2, 1400, 'off'])
  assert.deepEqual([bare.queues, bare.mtu, bare.offloads], [undefined, undefined, 'on'])
  assert.deepEqual([without.mode, without.offloads], ['user', undefined])
  assert.throws(() => parseNic('queues=many', 'net0'), UsageError)
})

test('an address of IPv6 is one of its network, and goes by none', () => {
  const nic = nicSpec.parse(parseNic('network=lan,ipv6=FD09::0A', 'net0'))
  const changed = (words: string) => nicSpec.parse(changedNic(nic, parseNicChange(words))).ipv6

  assert.equal(nic.ipv6, 'fd09::a')
  assert.deepEqual([changed('link=down'), changed('ipv6=fd09::b')], ['fd09::a', 'fd09::b'])
  assert.deepEqual(
    [changed('ipv6=none'), changed('network=other'), changed('mode=user')],
    [undefined, undefined, undefined],
  )
})
