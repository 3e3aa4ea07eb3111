import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mtuFindings, mtuLines, nicMtus } from './nic-mtu.ts'

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
  assert.deepEqual(mtuLines({ ...lan, mode: 'bridge' }, wire, 1300), ['link set dev kvt1 mtu 1300'])
  assert.equal(mtuLines({ ...lan, mode: 'bridge', uplink: { link: 'eth1', force: false } }, wire).length, 3)
})

test('who was told of larger packets than a bridge of others passes on is named', () => {
  const wires = [
    { vm: 'web1', nic: 'net0' },
    { vm: 'web2', nic: 'net0', mtu: 1300 },
  ]
  const of = (network: Parameters<typeof mtuFindings>[0], bridgeMtu: number | undefined) =>
    mtuFindings(network, wires, bridgeMtu).map(({ detail }) => detail)

  const [found = '', ...more] = of({ ...lan, mode: 'bridge' }, 1400)

  assert.match(
    found,
    /^The bridge br0 has an MTU of 1400 now, and the guest of NIC net0 of VM web1 was told 1500/,
  )
  assert.deepEqual(more, [])
  for (const mtu of [1500, undefined]) assert.deepEqual(of({ ...lan, mode: 'bridge' }, mtu), [])
  assert.deepEqual(of(lan, 1400), [])
})
