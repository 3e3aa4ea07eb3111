/**
 * The processor of a VM, as its spec says it: how many vCPUs, in which shape, of which model.
 *
 * Not here: where the threads of a VM run on the host, and how much of it they get (cpu-tuning.ts).
 */
import { z } from 'zod'
import { cpuTuningFields } from './cpu-tuning.ts'

/** The largest number of vCPUs of one VM; QEMU's q35 takes 288 without an IOMMU. */
export const vcpuLimit = 255

const topology = z.strictObject({
  sockets: z.int().min(1).max(vcpuLimit).default(1),
  dies: z.int().min(1).max(vcpuLimit).default(1),
  cores: z.int().min(1).max(vcpuLimit).default(1),
  threads: z.int().min(1).max(8).default(1),
})

/** The processor of a VM. */
export const cpuSpec = z
  .strictObject({
    count: z.int().min(1).max(vcpuLimit).default(1).meta({ description: 'vCPUs.' }),
    topology: topology.optional(),
    model: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'is not a CPU model')
      .default('auto')
      .meta({ description: '`auto` is the host CPU under KVM and `max` under TCG; else a model of QEMU.' }),
    features: z
      .record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'is not a CPU flag'), z.boolean())
      .default({}),
    ...cpuTuningFields,
  })
  .prefault({})
