/** All that a host's files say of what it can do for VMs, as plain values. Not here: what that means (model/host of the daemon). */
import { readCgroups } from './cgroup-reading.ts'
import { readArchitecture, readCpuInfo } from './cpu-info.ts'
import { parseCpuList } from './cpu-list.ts'
import { hasFile, readFirmwareDescriptors } from './firmware-reading.ts'
import type { HostTree } from './host-tree.ts'
import { readIommu } from './iommu-reading.ts'
import { readKernelOptions } from './kernel-options.ts'
import { readKvm } from './kvm-reading.ts'
import { readMemoryFeatures } from './memory-features.ts'
import { readNodes } from './node-reading.ts'
import { pciClassName } from './pci-class.ts'
import { readPciDevices } from './pci-reading.ts'
import { withoutAbsent } from './present-fields.ts'
import { readRenderNodes } from './render-reading.ts'
import { readSystemMemory } from './system-memory.ts'

const x86PageBytes = 4096

/** Reads a tree; undefined when no kernel described itself in it. */
export function readHost(tree: HostTree) {
  const info = readCpuInfo(tree)
  const list = (name: string) => parseCpuList(tree.readText(`/sys/devices/system/cpu/${name}`))
  const online = list('online') ?? list('present') ?? []
  if (info.flags.length === 0 && online.length === 0) return undefined
  const architecture = readArchitecture(tree, info)
  const release = tree.readText('/proc/sys/kernel/osrelease') ?? 'unknown'
  return {
    kernel: release,
    architecture,
    cpu: {
      vendor: info.vendor ?? 'unknown',
      model: info.model ?? 'unknown',
      count: online.length,
      flags: info.flags,
    },
    kvm: readKvm(tree, release),
    iommu: readIommu(tree),
    kernelOptions: readKernelOptions(tree),
    pciDevices: readPciDevices(tree).map((device) => ({
      ...device,
      className: pciClassName(device.classCode),
    })),
    renderNodes: readRenderNodes(tree),
    memory: readMemory(tree, architecture),
    cgroup: readCgroups(tree),
    firmwareDescriptors: readFirmwareDescriptors(tree),
    hasFile: (path: string) => hasFile(tree, path),
  }
}

/** Reads the memory of a tree, its nodes, and what the kernel does with them. */
export function readMemory(tree: HostTree, architecture: string) {
  const { totalBytes, availableBytes } = readSystemMemory(tree)
  return {
    totalBytes,
    availableBytes,
    nodes: readNodes(tree).map(({ node, memoryBytes, freeBytes }) =>
      withoutAbsent({ node, totalBytes: memoryBytes, freeBytes }),
    ),
    features: readMemoryFeatures(tree, architecture === 'x86_64' ? x86PageBytes : undefined),
  }
}
