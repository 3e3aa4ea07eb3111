/**
 * How the threads of a VM share the CPUs of the host: weight, quota, pins, scheduler policy. The guest sees none of it, so all of it
 * changes while the guest runs.
 *
 * Lists of CPUs are kept in their shortest form, so that the same set is always the same value. Whether its CPUs exist is the daemon's
 * to say. Not here: what the guest sees of its CPUs (cpu-spec.ts).
 */
import { z } from 'zod'
import { formatCpuList, maxCpus, parseCpuList } from './cpu-list.ts'
import { resourceName } from './names.ts'

const maxListLength = 1024

const listText = z
  .union([z.string().max(maxListLength), z.int().nonnegative()])
  .meta({ description: 'CPUs of the host: numbers and ranges, ^ takes away: 0-3,8,^2.' })

/** A list of host CPUs such as `0-3,8,^2`, or one CPU as YAML reads it, a number; comes out in its shortest form. */
const cpuList = listText
  .transform((text, ctx) => {
    const cpus = parseCpuList(String(text))
    if (cpus === undefined || cpus.length === 0) {
      ctx.addIssue({
        code: 'custom',
        message:
          cpus === undefined
            ? `is not a list of CPUs such as 0-3,8,^2, none above ${maxCpus - 1}`
            : 'takes away every CPU that it names',
      })
      return z.NEVER
    }
    const list = formatCpuList(cpus)
    // What is kept is read through this schema too.
    if (list.length > maxListLength) {
      ctx.addIssue({ code: 'custom', message: `is longer than ${maxListLength} characters when written out` })
      return z.NEVER
    }
    return list
  })
  .pipe(z.string())

/** More threads than this no VM has that can be pinned one by one. */
const maxPins = 256

/** Lists by what they pin; counted before any is looked at, since each may name thousands of CPUs. */
function pins(key: z.ZodString) {
  return z
    .record(key, listText)
    .refine((lists) => Object.keys(lists).length <= maxPins, `pins more than ${maxPins} threads`)
    .pipe(z.record(key, cpuList))
}

const weight = z.int().min(1).max(10_000)
const quotaPercent = z.int().min(1).max(100_000)

const pin = z
  .strictObject({
    vcpus: pins(z.string().regex(/^(0|[1-9]\d{0,2})$/, 'is not the number of a vCPU'))
      .default({})
      .meta({ description: 'By the number of the vCPU, also of one that is plugged later.' }),
    emulator: cpuList.optional().meta({ description: 'For the emulator thread and its workers.' }),
    vhost: cpuList.optional().meta({
      description:
        'For the threads of the kernel that move packets of its NICs (vhost); where the emulator’s are when not said.',
    }),
    ioThreads: pins(resourceName)
      .default({})
      .meta({ description: 'By the name of the disk whose I/O thread it is.' }),
  })
  .meta({ id: 'CpuPin' })

const threadLimit = z.strictObject({
  weight: weight.optional().meta({ description: 'Against the other threads of this VM; 100 when not said.' }),
  quotaPercent: quotaPercent.optional().meta({ description: 'For each such thread, in percent of one CPU.' }),
})

const threadLimits = z
  .strictObject({
    vcpus: threadLimit.optional(),
    emulator: threadLimit.optional(),
    ioThreads: threadLimit.optional(),
  })
  .meta({ id: 'CpuThreadLimits' })

const scheduler = z
  .discriminatedUnion('policy', [
    z.strictObject({ policy: z.enum(['other', 'batch', 'idle']) }),
    z.strictObject({ policy: z.enum(['fifo', 'rr']), priority: z.int().min(1).max(99).default(1) }),
  ])
  .meta({ id: 'CpuScheduler', description: 'The policy of the vCPU threads (sched(7)).' })

/** The fields of `cpu` that say how the host's CPUs are shared. */
export const cpuTuningFields = {
  weight: weight.optional().meta({
    description:
      'The share of CPU time against other VMs when CPUs are busy; 100 when not said (cpu.weight).',
  }),
  quotaPercent: quotaPercent.optional().meta({
    description: 'The most CPU time of the whole VM, in percent of one CPU: 150 is one and a half (cpu.max).',
  }),
  cpus: cpuList.optional().meta({ description: 'The CPUs of the host that the VM may use at all.' }),
  pin: pin.optional(),
  threadLimits: threadLimits.optional(),
  scheduler: scheduler.optional(),
}
