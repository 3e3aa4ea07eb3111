/** Networks of mode bridge: around an uplink, or with VLANs, or why not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewNetworkInput, newNetwork } from '@kvasir/contract'
import type { HostNetwork } from './host-network.ts'
import { bridgeGroup } from './link-names.ts'
import { planNetworkChanges, wantedAfter } from './plan-network.ts'
import { resolveBridged } from './resolve-bridged.ts'

const id = '0b7e9a52-6f0b-4d58-9f61-1f0de8c0a001'
const link = { mac: '52:54:00:00:00:01', bridge: undefined, mtu: 9000, kind: undefined }
const host: HostNetwork = {
  links: [
    { ...link, name: 'eth0' },
    { ...link, name: 'eth1' },
    { ...link, name: 'eth2', bridge: 'br0' },
    { ...link, name: 'eth3', bridge: 'bond0' },
    { ...link, name: 'bond0', kind: 'bond' },
    { ...link, name: 'eth1.7', kind: 'vlan' },
    { ...link, name: 'br0', kind: 'bridge' },
    { ...link, name: 'br1', kind: 'bridge', hasVlans: true },
    { ...link, name: 'tun0', kind: 'tun' },
  ],
  addresses: [{ link: 'eth0', address: '192.0.2.7/24' }],
  routes: [],
  ways: [
    { link: 'eth0', via: '192.0.2.1', isShared: false },
    { link: 'bond0', via: '10.0.0.1', isShared: true },
  ],
  keepers: [{ link: 'eth1.7', keeper: 'NetworkManager' }],
}

function resolve(wanted: Omit<NewNetworkInput, 'name'>) {
  return resolveBridged(newNetwork.parse({ name: 'office', mode: 'bridge', ...wanted }), { id, host })
}

test('a bridge is made around a link, with its MTU and a name and a mark of its own', () => {
  const { bridge, mtu, uplink } = resolve({ uplink: 'eth1' })

  assert.match(bridge, /^kvb/)
  assert.deepEqual([mtu, uplink], [9000, { link: 'eth1', force: false }])
  assert.ok(Number(bridgeGroup(id)) < 2 ** 31)
})

test('a link by which the host is reached, or that another program keeps, is taken only with force, and the refusal says what would happen', () => {
  assert.throws(
    () => resolve({ uplink: 'eth0' }),
    /default route \(by 192\.0\.2\.1\)\. With force, its addresses \(192\.0\.2\.7\/24\) and routes, the default route among them, go to the bridge/,
  )
  assert.throws(() => resolve({ uplink: 'eth1.7' }), /in the care of NetworkManager, which may put back/)
  assert.equal(resolve({ uplink: 'eth0', force: true }).uplink?.force, true)
  assert.equal(resolve({ uplink: 'eth1.7', force: true }).uplink?.link, 'eth1.7')
})

test('what cannot be an uplink is refused with what could be', () => {
  for (const [uplink, why] of [
    ['eth9', /no link eth9 .*it has eth0, eth1, bond0, eth1\.7/],
    ['tun0', /tun0 of the host is a tun/],
    ['br0', /br0 of the host is a bridge/],
    ['eth2', /belongs to br0 already; name that bridge instead/],
    ['eth3', /belongs to bond0 already; name bond0 as the uplink/],
    ['bond0', /one way of several/],
  ] as const)
    assert.throws(() => resolve({ uplink, force: true }), why)
})

test('VLANs take a bridge that tells them apart, which nobody makes of somebody else’s', () => {
  assert.throws(
    () => resolve({ bridge: 'br0', vlanAware: true }),
    /br0 does not tell VLANs apart, .*ip link set br0 type bridge vlan_filtering 1/,
  )
  assert.deepEqual(resolve({ bridge: 'br1', vlanAware: true, vlan: 10 }).vlans, { vlan: 10 })
  assert.throws(() => resolve({ bridge: 'br1', vlan: 10 }), /is not VLAN-aware/)
  for (const vlan of [0, 4095, 4096])
    assert.throws(() => resolve({ bridge: 'br1', vlanAware: true, vlan }), /is not a VLAN: 1 to 4094/)
  assert.throws(
    () => resolve({ bridge: 'br1', vlanAware: true, vlan: 10, trunk: ['5-20'] }),
    /one VLAN both with tags and without/,
  )
})

test('another default VLAN is live; another uplink, and telling VLANs apart, take a restart', () => {
  const now = { ...resolve({ uplink: 'eth1', vlanAware: true, vlan: 10 }), autostart: true }
  const planned = (change: object) => {
    const next = resolveBridged(wantedAfter(now, change), { id, host })
    const { changes } = planNetworkChanges(now, { ...next, autostart: true }, { isStarted: true })
    return changes.map(({ field, to, effect }) => [field, to, effect])
  }

  assert.deepEqual(planned({ vlan: 20 }), [['vlan', 20, 'live']])
  assert.deepEqual(planned({ vlan: null, trunk: [5] }), [
    ['vlan', null, 'live'],
    ['trunk', [5], 'live'],
  ])
  assert.deepEqual(
    planned({ uplink: 'eth0', force: true }).map(([field, , effect]) => [field, effect]),
    [
      ['uplink', 'restart'],
      ['force', 'live'],
    ],
  )
  assert.deepEqual(planned({ vlanAware: false })[0], ['vlanAware', false, 'restart'])
})
