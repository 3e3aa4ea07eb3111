/** How the memory of a running VM is made: what its emulator was started with, and what the host makes of it. Part of memory-status.ts. */
import { z } from 'zod'
import { bytes } from './units.ts'

/** How memory is backed. */
export const memoryBacking = z
  .strictObject({
    sharing: z.enum(['private', 'shared']),
    pages: z
      .enum(['kernel', 'reserved'])
      .meta({ description: 'kernel: pages of the kernel, which it makes huge where it can.' }),
    pageBytes: bytes.optional().meta({ description: 'Of reserved huge pages.' }),
    thp: z.enum(['default', 'always', 'never']),
    ksm: z.boolean().meta({ description: 'Whether KSM may merge it: as asked, and possible.' }),
    preallocated: z.boolean(),
    locked: z.boolean(),
    nodes: z.array(z.int()).meta({ description: 'Host NUMA nodes that it is taken from; none: any.' }),
    nodePolicy: z.enum(['bind', 'preferred', 'interleave']).optional(),
  })
  .meta({ id: 'MemoryBacking' })

export type MemoryBacking = z.output<typeof memoryBacking>
