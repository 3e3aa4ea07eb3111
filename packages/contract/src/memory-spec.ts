/**
 * What the memory of a VM should be: its size, and how the host makes it.
 *
 * Not here: what the memory of a running VM is (memory-status.ts).
 */
import { z } from 'zod'
import { checkMemorySizes, memoryTuning } from './memory-tuning.ts'
import { formatBytes } from './size.ts'
import { byteSize } from './units.ts'

/** The most memory that a spec may name, in bytes. */
const largestMemoryBytes = 2 ** 44
/** The most nodes that Linux can be built for (1 << CONFIG_NODES_SHIFT on x86). */
const maxNodes = 1024

/** The huge pages of x86-64 that can be reserved (hugetlbfs), by their names in a spec, in bytes. */
export const hugePageBytes = { '2MiB': 2 ** 21, '1GiB': 2 ** 30 } as const

const sharing = z.enum(['private', 'shared']).default('private').meta({
  description: 'private: KSM and transparent huge pages apply. shared: other processes can map it.',
})

const pageSize = z.enum(['default', '2MiB', '1GiB']).default('default').meta({
  description: 'default: pages of the kernel, huge where it can. Else from the reserved pages of that size.',
})

const thp = z.enum(['default', 'always', 'never']).default('default').meta({
  description:
    'Transparent huge pages. default: as the host has them, since QEMU asks for them always. always: the same, and said where they cannot be had. never: none.',
})

const nodes = z
  .array(
    z
      .int()
      .min(0)
      .max(maxNodes - 1),
  )
  .max(64)
  .refine((list) => new Set(list).size === list.length, 'names a node twice')
  .default([])
  .meta({ description: 'Host NUMA nodes that its memory comes from; none: the kernel chooses.' })

/** The `memory` of a spec, with its defaults. */
export const memorySpec = z
  .strictObject({
    size: byteSize
      .refine((n) => n >= 16 * 2 ** 20, 'is less than 16 MiB')
      .refine((n) => n <= largestMemoryBytes, 'is more than 16 TiB')
      .refine((n) => n % 2 ** 20 === 0, 'is not a whole number of MiB')
      .default(512 * 2 ** 20)
      .meta({
        description: 'What the guest has. Changed while it runs where max allows it, else at the next boot.',
      }),
    sharing,
    pageSize,
    thp,
    ksm: z
      .boolean()
      .default(true)
      .meta({ description: 'Whether KSM may merge it; it merges private memory in pages of the kernel.' }),
    preallocate: z
      .boolean()
      .default(false)
      .meta({ description: 'Taken from the host at the start. Reserved huge pages always are.' }),
    preallocateThreads: z.int().min(1).max(64).optional(),
    lock: z
      .boolean()
      .default(false)
      .meta({ description: 'Never swapped out, nor anything of its emulator.' }),
    nodes,
    nodePolicy: z.enum(['bind', 'preferred', 'interleave']).default('bind').meta({
      description:
        'bind: from nodes and nowhere else. preferred: from the node while it has some. interleave: from the nodes in turn.',
    }),
    ...memoryTuning,
  })
  .superRefine(checkMemorySizes)
  .superRefine(checkBacking)
  .prefault({})

interface Backing {
  readonly size: number
  readonly pageSize: 'default' | keyof typeof hugePageBytes
  readonly nodes: readonly number[]
  readonly nodePolicy: string
  readonly lock: boolean
  readonly max?: number | undefined
}

/** Refuses fields of a `memory` that contradict each other. */
function checkBacking(memory: Backing, ctx: z.RefinementCtx): void {
  const refuse = (field: keyof Backing, message: string) =>
    ctx.addIssue({ code: 'custom', path: [field], message })
  if (memory.pageSize !== 'default' && memory.size % hugePageBytes[memory.pageSize] !== 0)
    refuse('size', `of ${formatBytes(memory.size)} is not a whole number of pages of ${memory.pageSize}`)
  if (memory.max !== undefined && memory.pageSize !== 'default')
    refuse('max', `cannot be had with pages of ${memory.pageSize}, all of which are taken at the start`)
  if (memory.max !== undefined && memory.lock)
    refuse('max', 'cannot be had with locked memory, all of which is taken at the start')
  if (memory.nodePolicy === 'preferred' && memory.nodes.length > 1)
    refuse('nodes', 'names several nodes, and only one can be preferred')
}
