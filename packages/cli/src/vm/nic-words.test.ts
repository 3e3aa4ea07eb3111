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
