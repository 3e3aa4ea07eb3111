import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mtuLines, nicMtus } from './nic-mtu.ts'

const lan = { mode: 'nat', bridge: 'br0', mtu: 1500 } as const

test('a NIC has the MTU of its network, or the smaller one that it names', () => {
  assert.deepEqual(nicMtus(lan, {}), { mtu: 1500, networkMtu: 1500, guestMtu: 1500 })
  assert.deepEqual(nicMtus(lan, { mtu: 1400 }), { mtu: 1400, networkMtu: 1500, guestMtu: 1400 })
})

test('a bridge of ours keeps its MTU when a tap with a smaller one comes; one of others gets none', () => {
  const wire = { tap: 'kvt1', mtu: 1400 }

  assert.deepEqual(mtuLines(lan, wire), [
    'link set dev br0 mtu 1501',
    'link set dev br0 mtu 1500',
    'link set dev kvt1 mtu 1400',
  ])
  assert.deepEqual(mtuLines(lan, { tap: 'kvt1', mtu: 1500 }), ['link set dev kvt1 mtu 1500'])
  assert.deepEqual(mtuLines(lan, { tap: 'kvt1' }), [])
  assert.deepEqual(mtuLines({ ...lan, mode: 'bridge' }, wire), ['link set dev kvt1 mtu 1500'])
  assert.equal(mtuLines({ ...lan, mode: 'bridge', uplink: { link: 'eth1', force: false } }, wire).length, 3)
})
