/**
 * The processor of a VM, as its spec says it: how many vCPUs, in which shape, of which model.
 *
 * Not here: where the threads of a VM run on the host, and how much of it they get (cpu-tuning.ts).
 */
import { z } from 'zod'
import { cpuTuningFields } from './cpu-tuning.ts'
import { placementFields } from './placement.ts'

/** The largest number of vCPUs of one VM; QEMU's q35 takes 288 without an IOMMU. */
export const vcpuLimit = 255

/** More than any processor has. */
const maxFlags = 512

const topology = z.strictObject({
  sockets: z.int().min(1).max(vcpuLimit).default(1),
  dies: z.int().min(1).max(vcpuLimit).default(1),
  cores: z.int().min(1).max(vcpuLimit).default(1),
  threads: z.int().min(1).max(8).default(1),
})

/** The processor of a VM. */
export const cpuSpec = z
  .strictObject({
    count: z.int().min(1).max(vcpuLimit).default(1).meta({
      description: 'vCPUs. Changes while the guest runs up to max, where max is said.',
    }),
    max: z
      .int()
      .min(1)
      .max(vcpuLimit)
      .optional()
      .meta({ description: 'vCPUs that count can grow to without a boot; count when not said.' }),
    topology: topology
      .optional()
      .meta({ description: 'How max (or count) is made up; one socket with a core each when not said.' }),
    model: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'is not a CPU model')
      .default('auto')
      .meta({
        description:
          '`auto` is the host CPU under KVM and `max` under TCG; `x86-64-v2`, `-v3` and `-v4` are the levels of the x86-64 ABI; else a model of QEMU.',
      }),
    features: z
      .record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'is not a CPU flag'), z.boolean())
      .refine((flags) => Object.keys(flags).length <= maxFlags, `has more than ${maxFlags} flags`)
      .default({})
      .meta({ description: 'Flags on and off by the names of QEMU. One that this host lacks is refused.' }),
    nested: z
      .union([z.boolean(), z.enum(['auto', 'true', 'false'])])
      .transform((value) => (value === 'auto' ? value : value === true || value === 'true'))
      .pipe(z.union([z.boolean(), z.literal('auto')]))
      .default('auto')
      .meta({ description: 'Whether the guest can run VMs itself; auto: as the model has it.' }),
    ...cpuTuningFields,
    ...placementFields,
  })
  .superRefine(checkPins)
  .prefault({})

/** Refuses pins of vCPUs that are given CPUs of their own. */
function checkPins(
  cpu: { readonly placement: string; readonly pin?: { readonly vcpus: object } | undefined },
  ctx: z.RefinementCtx,
): void {
  if (cpu.placement !== 'dedicated' || Object.keys(cpu.pin?.vcpus ?? {}).length === 0) return
  ctx.addIssue({
    code: 'custom',
    path: ['pin', 'vcpus'],
    message: 'cannot be had with placement dedicated, which finds a CPU for each vCPU; cpus says where',
  })
}
