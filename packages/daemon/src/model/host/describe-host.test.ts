import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cpuBaseline, cpuFeatures } from './cpu-features.ts'
import { describeFirmware } from './firmware.ts'
import { describeSriov } from './sriov.ts'

const v2 = 'lm cmov cx8 fpu fxsr mmx syscall sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3'.split(' ')

test('the baseline is the highest level that is complete with all below it', () => {
  assert.equal(cpuBaseline(v2), 'x86-64-v2')
  assert.equal(cpuBaseline([...v2, 'avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl']), 'x86-64-v2')
  assert.equal(cpuBaseline(['lm']), undefined)
})

test('the features that matter are those of the vendor', () => {
  const flags = (vendor: string, has: readonly string[]) =>
    cpuFeatures(vendor, has).flatMap(({ flag, present }) => (present ? [flag] : []))

  assert.deepEqual(flags('AuthenticAMD', ['lm', 'svm', 'npt', 'vmx']), ['svm', 'npt'])
  assert.deepEqual(flags('GenuineIntel', ['lm', 'vmx', 'ept', 'pdpe1gb']), ['vmx', 'ept', 'pdpe1gb'])
  assert.deepEqual(cpuFeatures('0x41', ['fp']), [])
})

test('VFs that a VM has or that are up are used; those that were never made are free', () => {
  const vf = (address: string, more: object) => ({ address, interfaces: [], isUp: false, vfs: [], ...more })
  const [device, ...others] = describeSriov([
    vf('0000:01:00.0', {
      driver: 'igb',
      interfaces: ['eth0'],
      isUp: true,
      totalVfs: 7,
      vfs: ['0000:01:10.0', '0000:01:10.2', '0000:01:10.4'],
    }),
    vf('0000:01:10.0', { driver: 'vfio-pci' }),
    vf('0000:01:10.2', { driver: 'igbvf', isUp: true }),
    vf('0000:01:10.4', { driver: 'igbvf' }),
  ])

  assert.deepEqual(others, [])
  assert.deepEqual([device?.totalVfs, device?.vfs.length, device?.used, device?.free], [7, 3, 2, 5])
})

const flash = {
  description: 'UEFI',
  'interface-types': ['uefi'],
  mapping: {
    device: 'flash',
    executable: { filename: '/fw/code.fd', format: 'raw' },
    'nvram-template': { filename: '/fw/vars.fd', format: 'raw' },
  },
  targets: [{ architecture: 'x86_64', machines: ['pc-q35-*'] }],
  features: ['secure-boot'],
  tags: [],
}

test('a firmware descriptor is described with whether its files exist', () => {
  const descriptors = [{ path: '/etc/qemu/firmware/50.json', text: JSON.stringify(flash) }]

  const [complete] = describeFirmware(descriptors, () => true)
  const [lacking] = describeFirmware(descriptors, (path) => path !== '/fw/vars.fd')

  assert.deepEqual(
    [complete?.executable, complete?.nvramTemplate, complete?.installed, lacking?.installed],
    ['/fw/code.fd', '/fw/vars.fd', true, false],
  )
})

test('what is no descriptor is left out', () => {
  for (const text of ['', '{', '[]', '{"mapping":{"device":"flash"}}'])
    assert.deepEqual(
      describeFirmware([{ path: '/x.json', text }], () => true),
      [],
    )
})
