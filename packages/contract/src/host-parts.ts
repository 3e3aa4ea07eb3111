/** What a host has for VMs: KVM, the IOMMU, SR-IOV, features of the kernel's memory management, firmware. Parts of the host. */
import { z } from 'zod'
import { bytes } from './units.ts'

const state = z.enum(['on', 'off', 'absent']).meta({ description: 'Absent: this kernel does not have it.' })

export const hostKvm = z
  .strictObject({
    usable: z.boolean(),
    reason: z.string().meta({ description: 'Why KVM can be used, or the exact reason why it cannot.' }),
    remedy: z.string().optional().meta({ description: 'What to do about it.' }),
    device: z
      .enum(['usable', 'missing', 'denied', 'unknown'])
      .meta({ description: '/dev/kvm; unknown where only captured files are read.' }),
    nested: z.enum(['on', 'off', 'unknown']).meta({ description: 'Whether guests may run KVM themselves.' }),
    modules: z.array(z.strictObject({ name: z.string(), parameters: z.record(z.string(), z.string()) })),
  })
  .meta({ id: 'HostKvm' })

export const hostIommu = z
  .strictObject({
    state: z.enum(['on', 'off', 'absent']),
    kind: z.string().optional().meta({ description: 'VT-d, AMD-Vi, SMMU or another, where it is known.' }),
    reason: z.string(),
    remedy: z.string().optional(),
    groups: z.array(
      z.strictObject({
        group: z.int(),
        type: z.string().optional(),
        devices: z.array(z.string()).meta({ description: 'PCI addresses.' }),
        assignable: z.boolean().meta({ description: 'Whether its device can be given to a VM alone.' }),
        reason: z.string(),
      }),
    ),
  })
  .meta({ id: 'HostIommu' })

export const hostSriov = z
  .strictObject({
    address: z.string(),
    driver: z.string().optional(),
    interfaces: z.array(z.string()),
    totalVfs: z.int(),
    vfs: z.array(
      z.strictObject({
        address: z.string(),
        driver: z.string().optional(),
        used: z.boolean().meta({ description: 'Bound for a VM, or an interface of the host that is up.' }),
      }),
    ),
    used: z.int(),
    free: z.int().meta({ description: 'VFs that exist or could be made, and that nobody uses.' }),
  })
  .meta({ id: 'HostSriov', description: 'A device that can have virtual functions (VFs).' })

export const hostGraphics = z
  .strictObject({
    usable: z.boolean(),
    reason: z.string().meta({ description: 'Why VMs can have 3D here, or what is lacking.' }),
    remedy: z.string().optional().meta({ description: 'What to do about it.' }),
    renderNodes: z.array(
      z.strictObject({
        path: z.string(),
        driver: z.string().optional(),
        address: z.string().optional().meta({ description: 'Of the PCI function that it is a part of.' }),
        usable: z.boolean(),
        reason: z.string(),
      }),
    ),
  })
  .meta({ id: 'HostGraphics', description: '3D for guests: render nodes, and what QEMU takes to use them.' })

const hugepagePool = { total: z.int(), free: z.int(), surplus: z.int() }

export const hostMemoryFeatures = z
  .strictObject({
    ksm: z.strictObject({
      state,
      pagesShared: z.int().optional(),
      pagesSharing: z.int().optional(),
      savedBytes: bytes.optional(),
      mergeAcrossNodes: z.boolean().optional(),
    }),
    thp: z.strictObject({
      mode: z.enum(['always', 'madvise', 'never', 'absent']),
      defrag: z.string().optional(),
      shmem: z.string().optional(),
      inUseBytes: bytes.optional(),
    }),
    hugepages: z.array(
      z.strictObject({
        sizeBytes: bytes,
        ...hugepagePool,
        reserved: z.int(),
        nodes: z.array(z.strictObject({ node: z.int(), ...hugepagePool })),
      }),
    ),
    zswap: z.strictObject({
      state,
      compressor: z.string().optional(),
      pool: z.string().optional().meta({ description: 'The allocator of the pool.' }),
      maxPoolPercent: z.int().optional(),
      poolBytes: bytes.optional(),
      storedBytes: bytes.optional(),
    }),
    swap: z.strictObject({ totalBytes: bytes, freeBytes: bytes }),
    psi: z.strictObject({
      state,
      cpuPercent: z.number().optional(),
      memoryPercent: z.number().optional(),
      ioPercent: z.number().optional(),
    }),
    mglru: z.strictObject({ state }),
  })
  .meta({
    id: 'HostMemoryFeatures',
    description: 'PSI: the part of the last 10 seconds in which some task waited.',
  })

export const hostFirmware = z
  .strictObject({
    descriptor: z.string(),
    description: z.string(),
    interfaces: z.array(z.string()),
    device: z.string().meta({ description: 'How it is given to a VM: flash, kernel or memory.' }),
    executable: z.string(),
    nvramTemplate: z.string().optional(),
    targets: z.array(z.strictObject({ architecture: z.string(), machines: z.array(z.string()) })),
    features: z.array(z.string()),
    installed: z.boolean().meta({ description: 'Whether the files that it names exist.' }),
  })
  .meta({
    id: 'HostFirmware',
    description: 'A firmware image, by its descriptor; the first that fits is taken.',
  })

export const hostCpuFeature = z
  .strictObject({ flag: z.string(), present: z.boolean(), means: z.string() })
  .meta({ id: 'HostCpuFeature' })

export type HostKvm = z.output<typeof hostKvm>
export type HostIommu = z.output<typeof hostIommu>
export type HostGraphics = z.output<typeof hostGraphics>
export type HostSriov = z.output<typeof hostSriov>
export type HostMemoryFeatures = z.output<typeof hostMemoryFeatures>
export type HostFirmware = z.output<typeof hostFirmware>
export type HostCpuFeature = z.output<typeof hostCpuFeature>
