import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryTree } from '../testing/machine-files.ts'
import { readFirmwareDescriptors } from './firmware-reading.ts'
import { readHost } from './host-reading.ts'
import { keepKernelOptions } from './kernel-options.ts'
import { readMemoryFeatures } from './memory-features.ts'
import { readRenderNodes } from './render-reading.ts'

function tree(files: Readonly<Record<string, string>>) {
  return memoryTree(new Map(Object.entries(files)))
}

test('a tree in which no kernel described itself is none', () => {
  assert.equal(readHost(tree({})), undefined)
  assert.equal(
    readHost(tree({ '/proc/cpuinfo': 'garbage', '/sys/devices/system/cpu/online': '0-4294967295' })),
    undefined,
  )
})

test('a kernel without a feature has it absent, and everything else works', () => {
  const features = readMemoryFeatures(tree({}), 4096)

  assert.deepEqual(features, {
    ksm: { state: 'absent' },
    thp: { mode: 'absent' },
    hugepages: [],
    zswap: { state: 'absent' },
    swap: { totalBytes: 0, freeBytes: 0 },
    psi: { state: 'absent' },
    mglru: { state: 'absent' },
  })
})

test('features of memory are read as the kernel writes them', () => {
  const features = readMemoryFeatures(
    tree({
      '/sys/kernel/mm/ksm/run': '1',
      '/sys/kernel/mm/ksm/pages_shared': '10',
      '/sys/kernel/mm/ksm/pages_sharing': '100',
      '/sys/kernel/mm/ksm/merge_across_nodes': '0',
      '/sys/kernel/mm/transparent_hugepage/enabled': 'always [madvise] never',
      '/sys/kernel/mm/transparent_hugepage/defrag': 'always defer [defer+madvise] madvise never',
      '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '512',
      '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages': '500',
      '/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages': '3',
      '/sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages': '512',
      '/sys/devices/system/node/node2/hugepages/hugepages-2048kB/free_hugepages': '500',
      '/sys/module/zswap/parameters/enabled': 'Y',
      '/sys/module/zswap/parameters/compressor': 'zstd',
      '/sys/module/zswap/parameters/zpool': 'zsmalloc',
      '/sys/module/zswap/parameters/max_pool_percent': '20',
      '/proc/meminfo':
        'SwapTotal: 2048 kB\nSwapFree: 1024 kB\nZswap: 10 kB\nZswapped: 30 kB\nAnonHugePages: 4096 kB',
      '/proc/pressure/cpu': 'some avg10=1.50 avg60=0.00 avg300=0.00 total=1',
      '/sys/kernel/mm/lru_gen/enabled': '0x0007',
    }),
    4096,
  )

  assert.deepEqual(features, {
    ksm: { state: 'on', pagesShared: 10, pagesSharing: 100, savedBytes: 409_600, mergeAcrossNodes: false },
    thp: { mode: 'madvise', defrag: 'defer+madvise', inUseBytes: 4096 * 1024 },
    hugepages: [
      {
        sizeBytes: 2 ** 21,
        total: 512,
        free: 500,
        surplus: 0,
        reserved: 3,
        nodes: [{ node: 2, total: 512, free: 500, surplus: 0 }],
      },
    ],
    zswap: {
      state: 'on',
      compressor: 'zstd',
      pool: 'zsmalloc',
      maxPoolPercent: 20,
      poolBytes: 10 * 1024,
      storedBytes: 30 * 1024,
    },
    swap: { totalBytes: 2048 * 1024, freeBytes: 1024 * 1024 },
    psi: { state: 'on', cpuPercent: 1.5 },
    mglru: { state: 'on' },
  })
})

test('modules with their parameters, groups and SR-IOV are read', () => {
  const device = '/sys/bus/pci/devices/0000:01:00.0'
  const host = readHost(
    tree({
      '/proc/cpuinfo':
        'processor : 0\nvendor_id : GenuineIntel\nmodel name : X\nflags : lm vmx\nvmx flags : ept vpid\n',
      '/sys/devices/system/cpu/online': '0-3',
      '/sys/module/kvm_intel/parameters/nested': 'Y',
      '/sys/class/misc/kvm/dev': '10:232',
      '/sys/kernel/iommu_groups/12/type': 'DMA-FQ',
      '/sys/kernel/iommu_groups/12/reserved_regions': '0x00000000fee00000 0x00000000feefffff msi',
      '/sys/kernel/iommu_groups/12/devices/0000:01:00.0/class': '0x020000',
      [`${device}/class`]: '0x020000',
      [`${device}/sriov_totalvfs`]: '7',
      [`${device}/virtfn0`]: '-> ../0000:01:10.0',
      [`${device}/net/ens1/operstate`]: 'up',
    }),
  )

  assert.deepEqual(host?.cpu, {
    vendor: 'GenuineIntel',
    model: 'X',
    count: 4,
    flags: ['lm', 'vmx', 'ept', 'vpid'],
  })
  assert.deepEqual(host?.kvm, {
    isKnown: true,
    modules: [{ name: 'kvm_intel', parameters: { nested: 'Y' } }],
    hasDevice: true,
  })
  assert.deepEqual(host?.iommu.groups, [
    { group: 12, type: 'DMA-FQ', devices: ['0000:01:00.0'], hasDirectRegion: false },
  ])
  const [nic] = host?.pciDevices ?? []
  assert.deepEqual(
    [nic?.totalVfs, nic?.vfs, nic?.interfaces, nic?.isUp],
    [7, ['0000:01:10.0'], ['ens1'], true],
  )
})

test('render nodes are read with the driver and the place of their GPU, if they have one', () => {
  const folder = '/sys/class/drm'
  const nodes = readRenderNodes(
    tree({
      [`${folder}/card0`]: '-> ../../devices/pci0000:00/0000:00:02.0/drm/card0',
      [`${folder}/renderD129`]: '-> ../../devices/platform/vgem/drm/renderD129',
      [`${folder}/renderD129/device`]: '-> ../../../vgem',
      [`${folder}/renderD128`]: '-> ../../devices/pci0000:00/0000:00:02.0/drm/renderD128',
      [`${folder}/renderD128/device`]: '-> ../../../0000:00:02.0',
      [`${folder}/renderD128/device/driver`]: '-> ../../../bus/pci/drivers/i915',
    }),
  )

  assert.deepEqual(nodes, [
    { path: '/dev/dri/renderD128', driver: 'i915', address: '0000:00:02.0' },
    { path: '/dev/dri/renderD129', driver: 'vgem' },
  ])
})

test('descriptors in /etc stand in place of those of the same name, and an empty one takes one away', () => {
  const descriptors = readFirmwareDescriptors(
    tree({
      '/usr/share/qemu/firmware/60-b.json': 'b',
      '/usr/share/qemu/firmware/50-a.json': 'a',
      '/usr/share/qemu/firmware/40-c.json': 'c',
      '/etc/qemu/firmware/50-a.json': 'mine',
      '/etc/qemu/firmware/40-c.json': '',
    }),
  )

  assert.deepEqual(
    descriptors.map(({ text }) => text),
    ['mine', 'b'],
  )
})

test('of the kernel command line only options that matter are kept', () => {
  const line = 'root=UUID=secret intel_iommu=on kvm-intel.nested=1 password=x nosmt -- iommu=off'

  assert.equal(keepKernelOptions(tree({ '/proc/cmdline': line })), 'intel_iommu=on kvm-intel.nested=1 nosmt')
})
