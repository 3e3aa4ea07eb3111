/** The host as the daemon sees it. */
import { z } from 'zod'
import {
  hostCpuFeature,
  hostFirmware,
  hostGraphics,
  hostIommu,
  hostKvm,
  hostMemoryFeatures,
  hostSriov,
} from './host-parts.ts'
import { bytes, timestamp } from './units.ts'

/** Whether an accelerator can be used, and why not. */
export const acceleratorChoice = z
  .strictObject({
    kind: z.enum(['kvm', 'tcg']),
    reason: z.string(),
  })
  .meta({ id: 'AcceleratorChoice' })

export const host = z
  .strictObject({
    hostname: z.string(),
    kernel: z.string(),
    architecture: z.string(),
    cpu: z.strictObject({
      model: z.string(),
      count: z.int(),
      virtualization: z.enum(['vmx', 'svm', 'none']),
      vendor: z.string(),
      baseline: z
        .string()
        .optional()
        .meta({ description: 'The highest of x86-64-v1 to v4 that the CPU has.' }),
      features: z.array(hostCpuFeature),
    }),
    memory: z.strictObject({
      totalBytes: bytes,
      availableBytes: bytes,
      nodes: z.array(
        z.strictObject({ node: z.int(), totalBytes: bytes.optional(), freeBytes: bytes.optional() }),
      ),
      features: hostMemoryFeatures,
    }),
    accelerator: acceleratorChoice,
    kvm: hostKvm,
    iommu: hostIommu,
    sriov: z.array(hostSriov),
    graphics: hostGraphics,
    firmware: z.array(hostFirmware),
    qemu: z.strictObject({
      binary: z.string(),
      version: z.string(),
      machines: z.array(z.string()),
      accelerators: z.array(z.string()),
      devices: z.array(z.string()),
    }),
    cgroup: z.strictObject({
      version: z.enum(['v2', 'hybrid', 'v1', 'none']),
      root: z.string().optional(),
      controllers: z.array(z.string()),
      missing: z.array(z.string()),
    }),
    vsock: z.boolean(),
  })
  .meta({ id: 'Host' })

export const daemonStatus = z
  .strictObject({
    version: z.string(),
    pid: z.int(),
    startedAt: timestamp,
    healthy: z.boolean(),
    problems: z.array(z.string()),
    accelerator: acceleratorChoice,
    vms: z.record(z.string(), z.int()).meta({ description: 'How many VMs are in each state.' }),
    images: z.int(),
    jobsRunning: z.int(),
    lastEventSeq: z.int(),
  })
  .meta({ id: 'DaemonStatus' })

/** One difference between the store and the machine. */
export const auditEntry = z
  .strictObject({
    kind: z.enum(['missing', 'orphan', 'foreign', 'mismatched']),
    thing: z.string(),
    id: z.string(),
    detail: z.string(),
  })
  .meta({ id: 'AuditEntry' })

export const audit = z
  .strictObject({ clean: z.boolean(), checked: z.int(), entries: z.array(auditEntry) })
  .meta({ id: 'Audit' })

export type Host = z.output<typeof host>
export type DaemonStatus = z.output<typeof daemonStatus>
export type AcceleratorChoice = z.output<typeof acceleratorChoice>
export type AuditEntry = z.output<typeof auditEntry>
export type Audit = z.output<typeof audit>
