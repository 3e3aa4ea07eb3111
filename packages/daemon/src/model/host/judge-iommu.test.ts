import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type IommuFiles, judgeIommu, type PciFunction } from './judge-iommu.ts'

function judge(files: Partial<IommuFiles>, options: readonly (readonly [string, string])[] = []) {
  return judgeIommu({
    files: { units: [], groups: [], ...files },
    kernelOptions: options,
    pciDevices: devices,
  })
}

const devices: readonly PciFunction[] = [
  { address: '0000:00:01.0', classCode: '060400', className: 'PCI bridge' },
  { address: '0000:01:00.0', classCode: '020000', className: 'Ethernet controller' },
  { address: '0000:01:00.1', classCode: '020000', className: 'Ethernet controller' },
  { address: '0000:02:00.0', classCode: '010802', className: 'NVMe controller' },
  { address: '0000:00:1f.0', classCode: '060100', className: 'ISA bridge' },
]

function groupOf(members: readonly string[], hasDirectRegion = false) {
  const [group] = judge({ groups: [{ group: 7, devices: members, hasDirectRegion }] }).groups
  assert.ok(group)
  return group
}

test('with groups the IOMMU is on, whatever the options say', () => {
  const judged = judge({ units: ['dmar0'], groups: [{ group: 0, devices: [], hasDirectRegion: false }] })

  assert.deepEqual([judged.state, judged.kind, judged.remedy], ['on', 'VT-d', undefined])
})

test('VT-d that the kernel does not use misses intel_iommu=on', () => {
  const judged = judge({ tables: ['DMAR'] })

  assert.equal(judged.state, 'off')
  assert.match(judged.reason, /intel_iommu=on is missing/)
  assert.match(judged.remedy ?? '', /intel_iommu=on iommu=pt/)
})

test('an IOMMU that an option turned off names that option', () => {
  const judged = judge({ tables: ['IVRS'] }, [['amd_iommu', 'off']])

  assert.deepEqual([judged.state, judged.kind], ['off', 'AMD-Vi'])
  assert.match(judged.remedy ?? '', /Remove amd_iommu=off/)
})

test('firmware that announces none, and files that do not say, are told apart', () => {
  assert.match(judge({ tables: [] }).reason, /firmware announces no IOMMU/)
  assert.match(judge({}).reason, /no tables of the firmware either/)
})

test('a group of VFIO without an IOMMU is none', () => {
  const judged = judge({
    groups: [{ group: 0, name: 'vfio-noiommu', devices: ['0000:02:00.0'], hasDirectRegion: false }],
  })

  assert.deepEqual([judged.state, judged.groups], ['absent', []])
})

test('a device alone can be assigned, also behind a bridge, and so can all functions of one device', () => {
  assert.deepEqual(groupOf(['0000:02:00.0']).assignable, true)
  assert.match(groupOf(['0000:00:01.0', '0000:02:00.0']).reason, /behind a bridge/)
  assert.match(
    groupOf(['0000:01:00.0', '0000:01:00.1']).reason,
    /2 functions of one device, which go together/,
  )
})

test('devices that nothing isolates from each other cannot be assigned, and are named', () => {
  const group = groupOf(['0000:01:00.0', '0000:02:00.0'])

  assert.equal(group.assignable, false)
  assert.match(group.reason, /no ACS.*0000:01:00.0 \(Ethernet controller\), 0000:02:00.0 \(NVMe controller\)/)
})

test('bridges, an empty group, and what firmware keeps mapped stay with the host', () => {
  assert.match(groupOf(['0000:00:01.0']).reason, /only bridges/)
  assert.match(groupOf(['0000:00:1f.0']).reason, /ISA bridge stays/)
  assert.match(groupOf([]).reason, /no PCI device/)
  assert.match(groupOf(['0000:02:00.0'], true).reason, /RMRR/)
  for (const group of [groupOf(['0000:00:01.0']), groupOf([]), groupOf(['0000:02:00.0'], true)])
    assert.equal(group.assignable, false)
})
