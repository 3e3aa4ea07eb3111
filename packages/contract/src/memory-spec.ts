/**
 * What the memory of a VM should be: its size, and how the host makes it.
 *
 * Not here: what the memory of a running VM is (memory-status.ts).
 */
import { z } from 'zod'
import { checkMemorySizes, memoryTuning } from './memory-tuning.ts'
import { byteSize } from './units.ts'

/** The most memory that a spec may name, in bytes. */
const largestMemoryBytes = 2 ** 44

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
    sharing: z.enum(['private', 'shared']).default('private').meta({
      description: 'private: KSM and transparent huge pages apply. shared: other processes can map it.',
    }),
    ...memoryTuning,
  })
  .superRefine(checkMemorySizes)
  .prefault({})
