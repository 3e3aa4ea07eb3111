/**
 * What the memory of a VM is right now: as configured, as its guest says, as the host's kernel holds it. And the host's memory beside
 * what its VMs could claim.
 *
 * What could not be told is left out, and where that has a reason which is not plain, `notes` says it.
 */
import { z } from 'zod'
import { memoryBacking } from './memory-backing.ts'
import { bytes, timestamp } from './units.ts'

const guestMemory = z
  .strictObject({
    source: z.enum(['balloon', 'agent']),
    at: timestamp.optional(),
    totalBytes: bytes.optional(),
    availableBytes: bytes.optional().meta({ description: 'Without swapping.' }),
    freeBytes: bytes.optional(),
    cachesBytes: bytes.optional(),
    swappedInBytes: bytes.optional().meta({ description: 'Since the guest booted.' }),
    swappedOutBytes: bytes.optional(),
    majorFaults: z.int().optional(),
  })
  .meta({ id: 'GuestMemory', description: 'What a guest reports of its memory.' })

const heldMemory = z
  .strictObject({
    at: timestamp,
    residentBytes: bytes,
    swappedBytes: bytes,
    zswappedBytes: bytes.optional().meta({ description: 'Of what is swapped: compressed in memory.' }),
    ksmBytes: bytes.optional().meta({ description: 'Merged with equal pages, of this VM or others.' }),
    huge: z.array(z.strictObject({ kind: z.enum(['transparent', 'reserved']), pageBytes: bytes, bytes })),
    nodes: z.array(z.strictObject({ node: z.int(), bytes })).optional(),
    lockedBytes: bytes.optional().meta({ description: 'Of the emulator: can not be swapped out.' }),
  })
  .meta({ id: 'HeldMemory', description: 'What the kernel of the host holds for an emulator.' })

const memoryLimit = z
  .strictObject({
    limit: z.enum(['high', 'hard', 'swap']),
    bytes,
    enforced: z.boolean(),
    reason: z.string().optional().meta({ description: 'Why it is not, or who has set it.' }),
  })
  .meta({ id: 'MemoryLimit' })

/** The memory of a running VM. */
export const vmMemory = z
  .strictObject({
    configuredBytes: bytes.meta({ description: 'memory.size of the spec.' }),
    bootBytes: bytes,
    backing: memoryBacking,
    plugged: z
      .strictObject({ requestedBytes: bytes, pluggedBytes: bytes, regionBytes: bytes })
      .optional()
      .meta({ description: 'Where memory can be plugged: asked for, taken by the guest, at most.' }),
    balloon: z
      .strictObject({ targetBytes: bytes, actualBytes: bytes })
      .optional()
      .meta({ description: 'What the balloon is to leave to the guest, and what it leaves now.' }),
    guest: z.array(guestMemory),
    host: heldMemory.optional(),
    limits: z.array(memoryLimit),
    notes: z.array(z.string()),
  })
  .meta({ id: 'VmMemoryStatus' })

export type VmMemory = z.output<typeof vmMemory>
export type GuestMemory = z.output<typeof guestMemory>
export type HeldMemory = z.output<typeof heldMemory>
