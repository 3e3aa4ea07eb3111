/** A host as its files describe it, with what each fact means for VMs: the same for the daemon's own host and for a captured one. */
import type { Host } from '@kvasir/contract'
import { virtualization } from '../accelerator.ts'
import { cpuBaseline, cpuFeatures } from './cpu-features.ts'
import { describeFirmware } from './firmware.ts'
import { judgeGraphics, type RenderNode } from './judge-graphics.ts'
import { type IommuFiles, judgeIommu, type PciFunction } from './judge-iommu.ts'
import { judgeKvm, type KvmFiles, type KvmTrial } from './judge-kvm.ts'
import { describeSriov, type SriovFunction } from './sriov.ts'

/** What was read of a host. */
export interface HostReading {
  readonly kernel: string
  readonly architecture: string
  readonly cpu: {
    readonly vendor: string
    readonly model: string
    readonly count: number
    readonly flags: readonly string[]
  }
  readonly kvm: KvmFiles
  readonly iommu: IommuFiles
  readonly kernelOptions: readonly (readonly [name: string, value: string])[]
  readonly pciDevices: readonly (PciFunction & SriovFunction)[]
  readonly renderNodes: readonly RenderNode[]
  readonly memory: Host['memory']
  readonly cgroup: Host['cgroup']
  readonly firmwareDescriptors: readonly { readonly path: string; readonly text: string }[]
  readonly hasFile: (path: string) => boolean
}

/** A host without what only the host itself can tell: its name, its accelerator, its QEMU. */
export type DescribedHost = Omit<Host, 'hostname' | 'accelerator' | 'qemu' | 'vsock'>

/** Describes a host; `trial` is what was tried on the host itself. */
export function describeHost(reading: HostReading, trial?: KvmTrial): DescribedHost {
  const { kernel, architecture, cpu, kvm, iommu, kernelOptions, pciDevices, renderNodes } = reading
  const { memory, cgroup } = reading
  const baseline = cpuBaseline(cpu.flags)
  return {
    kernel,
    architecture,
    cpu: {
      model: cpu.model,
      count: cpu.count,
      virtualization: virtualization({ cpuFlags: cpu.flags }),
      vendor: cpu.vendor,
      ...(baseline === undefined ? {} : { baseline }),
      features: cpuFeatures(cpu.vendor, cpu.flags),
    },
    memory,
    kvm: judgeKvm({ architecture, vendor: cpu.vendor, cpuFlags: cpu.flags, kernel, files: kvm, trial }),
    iommu: judgeIommu({ files: iommu, kernelOptions, pciDevices }),
    sriov: describeSriov(pciDevices),
    graphics: judgeGraphics({ renderNodes }),
    firmware: describeFirmware(reading.firmwareDescriptors, reading.hasFile),
    cgroup,
  }
}
