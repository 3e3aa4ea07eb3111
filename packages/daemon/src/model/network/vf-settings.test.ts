import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settingsOf, type VfState, vfChanges } from './vf-settings.ts'

const mac = '52:54:00:00:00:01'
const nic = { mac, limits: undefined, link: 'up' } as const
const network = { pfs: ['eth0'], spoofCheck: true, trust: false }
/** As igb says of a virtual function that was just made. */
const fresh: VfState = {
  mac: '00:00:00:00:00:00',
  vlan: 0,
  vlanPriority: 0,
  spoofCheck: true,
  trust: false,
  minRateMbits: 0,
  maxRateMbits: 0,
}

const wordsOf = (now: VfState, wanted: VfState) => vfChanges(now, wanted).map(({ words }) => words.join(' '))

test('what a network and a NIC say becomes what the virtual function is set to', () => {
  const settings = settingsOf(
    { ...network, vlan: 42, trust: true, minSend: 1_250_000 },
    { mac, limits: { send: 12_500_000, receive: undefined }, link: 'down' },
  )

  assert.deepEqual(wordsOf(fresh, settings), [
    `mac ${mac}`,
    'vlan 42',
    'trust on',
    'max_tx_rate 100 min_tx_rate 10',
    'state disable',
  ])
})

test('a NIC that names a VLAN is in that, and one that names none in that of its network', () => {
  const vlanOf = (vlan?: number) => settingsOf({ ...network, vlan: 42 }, { ...nic, vlan }).vlan

  assert.deepEqual([vlanOf(), vlanOf(7)], [42, 7])
})

test('a setting that is so already, or that nobody asks for, is not asked of the driver', () => {
  const plain = settingsOf(network, nic)

  assert.deepEqual(wordsOf({ ...fresh, mac }, plain), [])
  assert.deepEqual(wordsOf({ mac, spoofCheck: true }, plain), [])
  assert.deepEqual(wordsOf({ mac }, plain), ['spoofchk on'])
})

test('what it was before is put back with the same words', () => {
  const before: VfState = { ...fresh, mac: '52:54:00:00:00:09', vlan: 7, vlanPriority: 3, link: 'enable' }
  const settings = settingsOf({ ...network, vlan: 42, spoofCheck: false }, nic)

  assert.deepEqual(wordsOf(settings, before), [
    'mac 52:54:00:00:00:09',
    'vlan 7 qos 3',
    'spoofchk on',
    'state enable',
  ])
})

test('a rate is whole Mbit/s, never more than was said, and never none', () => {
  const rateOf = (send: number) =>
    settingsOf(network, { ...nic, limits: { send, receive: undefined } }).maxRateMbits

  assert.equal(rateOf(1_312_499), 10)
  assert.equal(rateOf(65_536), 1)
})
