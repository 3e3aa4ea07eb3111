import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostDeviceSpec, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { pluggableDevices } from '../pci/layout.ts'
import { buildEmulator } from './build-emulator.ts'
import { goldenCase } from './golden-case.ts'

const gpu = { name: 'gpu', address: '05:00.0' }

test('functions that share a slot take one port, and only those of one device can, below its function 0', () => {
  const refused = (...devices: NonNullable<VmSpecInput['hostDevices']>) => {
    const handed = Object.fromEntries(devices.map(({ name, address }) => [name, `0000:${address}`]))
    try {
      buildEmulator(goldenCase('x', { hostDevices: devices }, { handed }).input)
    } catch (error) {
      return String(error)
    }
    return 'not refused'
  }

  assert.deepEqual(
    pluggableDevices(
      vmSpec.parse({ hostDevices: [gpu, { name: 'audio', address: '05:00.1', with: 'gpu' }] }),
    ).filter((id) => id.startsWith('host-')),
    ['host-gpu'],
  )
  assert.match(refused({ name: 'audio', address: '05:00.1', with: 'gpu' }), /the VM has no host device gpu/)
  assert.match(
    refused(gpu, { name: 'audio', address: '06:00.1', with: 'gpu' }),
    /not functions of one device/,
  )
  assert.match(
    refused({ ...gpu, address: '05:00.2' }, { name: 'audio', address: '05:00.1', with: 'gpu' }),
    /0000:05:00\.2 is not function 0/,
  )
  const isGood = (more: object) => hostDeviceSpec.safeParse({ ...gpu, ...more }).success
  assert.deepEqual([{ romFile: '/x' }, { romFile: 'x' }, { romFile: '/x', rom: false }].map(isGood), [
    true,
    false,
    false,
  ])
})
