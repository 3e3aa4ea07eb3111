import assert from 'node:assert/strict'
import { test } from 'node:test'
import { translateEvent } from './qemu-events.ts'

test('a NIC whose helper went is without a network', () => {
  const data = { 'netdev-id': 'net-lan' }

  assert.deepEqual(translateEvent({ event: 'NETDEV_STREAM_DISCONNECTED', data, timestampMs: 1 }), {
    kind: 'network-lost',
    netdev: 'net-lan',
  })
})
