/** VLANs of ports: what a NIC has, and the commands that give it to its port. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vlanId, vlanTrunk } from '@kvasir/contract'
import {
  freshPortLines,
  type PortVlans,
  vlanChanges,
  vlansOf,
  vlanTable,
  wantedTables,
} from './port-vlans.ts'
import type { Wire } from './wires.ts'

const wire = (tap: string, vlans: PortVlans): Wire => ({
  vm: 'web1',
  nic: 'net0',
  network: 'office',
  tap,
  mac: '52:54:00:00:00:01',
  address: undefined,
  forwards: [],
  antiSpoof: false,
  isolated: false,
  ...vlans,
})

test('a VLAN is 1 to 4094, and a range of them goes up', () => {
  for (const one of [0, 4095, 4096, -1, 1.5]) assert.equal(vlanId.safeParse(one).success, false, String(one))
  for (const range of ['0-5', '5-5', '9-3', '10-4095', '10-', '1,2'])
    assert.equal(vlanTrunk.safeParse([range]).success, false, range)
  assert.match(vlanId.safeParse(4096).error?.issues[0]?.message ?? '', /is not a VLAN: 1 to 4094/)
  assert.deepEqual(vlanTrunk.parse([10, '20-30']), [10, '20-30'])
})

test('a NIC has its own VLANs, else those of its network, else the LAN’s; none where nobody tells them apart', () => {
  assert.deepEqual(vlansOf({ vlans: { vlan: 5 } }, { trunk: [10] }), { trunk: [10] })
  assert.deepEqual(vlansOf({ vlans: { vlan: 5, trunk: [7] } }, {}), { vlan: 5, trunk: [7] })
  assert.deepEqual(vlansOf({ vlans: {} }, {}), { vlan: 1 })
  assert.equal(vlansOf({ vlans: undefined }, {}), undefined)
})

test('a port that comes loses what the bridge gave it, and gets its own in as few words as there are', () => {
  assert.deepEqual(freshPortLines('tap0', { vlan: 7, trunk: [10, 11, '12-14', 20] }), [
    'vlan del dev tap0 vid 1-4094',
    'vlan add dev tap0 vid 10-14',
    'vlan add dev tap0 vid 20',
    'vlan add dev tap0 vid 7 pvid untagged',
  ])
})

test('a port that is changed keeps what stays', () => {
  const seen = vlanTable({ vlan: 1, trunk: ['10-12'] })

  assert.deepEqual(vlanChanges('tap0', vlanTable({ vlan: 10, trunk: [11] }), seen), [
    'vlan add dev tap0 vid 10 pvid untagged',
    'vlan del dev tap0 vid 1',
    'vlan del dev tap0 vid 12',
  ])
  assert.deepEqual(vlanChanges('tap0', seen, seen), [])
})

test('the uplink carries what guests have, with tags, and the LAN’s own VLAN without', () => {
  const network = { vlans: {}, uplink: { link: 'eth0', force: false } }
  const wires = [wire('tap0', { vlan: 10 }), wire('tap1', { trunk: [20, 21], vlan: 10 }), wire('tap2', {})]

  const tables = wantedTables(network, wires)

  assert.deepEqual([...(tables.get('eth0') ?? [])], [...vlanTable({ vlan: 1, trunk: [10, 20, 21] })])
  assert.deepEqual([...(tables.get('tap2') ?? [])], [[1, 'native']])
  assert.equal(wantedTables({ ...network, vlans: undefined }, wires).size, 0)
})
