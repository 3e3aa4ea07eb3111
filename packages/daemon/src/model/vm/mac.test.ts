import assert from 'node:assert/strict'
import { test } from 'node:test'
import { macAddress } from '@kvasir/contract'
import fc from 'fast-check'
import { macFor } from './mac.ts'

test('a NIC always gets the same MAC address, and it is one that the contract accepts', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.string(), (uuid, nic) => {
      const mac = macFor(uuid, nic)
      assert.match(mac, /^52:54:00:/)
      assert.equal(macAddress.parse(mac), mac)
      assert.equal(macFor(uuid.toUpperCase(), nic), mac)
    }),
  )
})

test('another NIC or another VM gets another one', () => {
  const uuid = 'a7c6c9a5-4a39-4a53-9d0a-6a38b1a7c001'
  assert.notEqual(macFor(uuid, 'lan'), macFor(uuid, 'dmz'))
  assert.notEqual(macFor(uuid, 'lan'), macFor(uuid.replace('a7', 'a8'), 'lan'))
})
