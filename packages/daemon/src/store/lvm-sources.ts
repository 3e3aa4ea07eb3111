/** What the rows of pools of LVM say that they are made of. */
import { z } from 'zod'

const group = { vg: z.string().min(1), devices: z.array(z.string()) }

/** A volume group, and a thin pool in one. */
export const lvmSources = [
  z.object({ type: z.literal('lvm'), ...group }),
  z.object({
    type: z.literal('lvm-thin'),
    ...group,
    thinPool: z.string().min(1),
    sizeBytes: z.number().optional(),
  }),
] as const
