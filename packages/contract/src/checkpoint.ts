/**
 * Checkpoints: moments of a running VM from which on each disk notes what is written to it, in a bitmap inside its volume, or, where
 * that is raw, in the emulator and between two of them in a file of the daemon. By it, an export
 * is told of what changed since. A checkpoint holds no data, and nothing can return to it.
 */
import { z } from 'zod'
import { resourceName, uuid } from './names.ts'
import { bytes, timestamp } from './units.ts'

/** What a checkpoint knows of one disk. */
const checkpointDisk = z
  .strictObject({
    disk: resourceName,
    state: z.enum(['usable', 'lost', 'unknown']).meta({
      description:
        'lost: what was written since is not known, so the next export is of all. unknown: the VM does not run, so nobody can say.',
    }),
    reason: z.string().optional().meta({ description: 'Why it is lost.' }),
    changedBytes: bytes.optional().meta({ description: 'What was written since, in whole grains.' }),
  })
  .meta({ id: 'CheckpointDisk' })

/** A moment since which changes are known. */
export const checkpoint = z
  .strictObject({
    id: uuid,
    vm: resourceName,
    name: resourceName,
    description: z.string(),
    createdAt: timestamp,
    disks: z.array(checkpointDisk),
  })
  .meta({ id: 'Checkpoint' })

export type Checkpoint = z.output<typeof checkpoint>

const disks = z.array(resourceName).min(1).max(64).optional()

/** The body of `checkpoint create`. */
export const createCheckpointBody = z
  .strictObject({
    name: resourceName,
    description: z.string().max(4096).default(''),
    disks: disks.meta({ description: 'All that may be written unless said.' }),
  })
  .meta({ id: 'CreateCheckpoint' })

/** What an instant keeps of one disk. */
const instantDisk = z
  .strictObject({
    disk: resourceName,
    sizeBytes: bytes,
    kind: z.enum(['full', 'increment']),
    reason: z.string().optional().meta({ description: 'Why it is full although a checkpoint was named.' }),
    keptBytes: bytes.optional().meta({ description: 'What it occupies on the host.' }),
  })
  .meta({ id: 'InstantDisk' })

/** Disks of a running VM as they were at one instant, kept to be read. */
export const instant = z
  .strictObject({
    id: uuid.meta({ description: 'That of its job, which lasts as long.' }),
    vm: resourceName,
    createdAt: timestamp,
    since: resourceName.optional(),
    checkpoint: resourceName.optional(),
    quiesced: z.boolean(),
    stoodMs: z.number().meta({ description: 'How long the guest stood at most, or was frozen.' }),
    copied: z
      .number()
      .min(0)
      .max(1)
      .meta({ description: 'How far the disks are copied to where they are kept; at 1 they can be read.' }),
    disks: z.array(instantDisk),
  })
  .meta({ id: 'Instant' })

export type Instant = z.output<typeof instant>

/** What is asked for to keep an instant. */
export const newInstant = z
  .strictObject({
    disks: disks.meta({ description: 'All that may be written unless said.' }),
    since: resourceName.optional().meta({
      description:
        'A checkpoint: only what changed since is told. A disk of which that is not known is told whole, with the reason.',
    }),
    checkpoint: resourceName
      .optional()
      .meta({ description: 'The name of a checkpoint that begins at this very instant.' }),
    quiesce: z
      .boolean()
      .default(false)
      .meta({ description: 'The guest agent freezes the file systems meanwhile.' }),
    idleSeconds: z.int().min(1).max(86_400).default(300).meta({
      description: 'It is ended when nobody has read of it for so long.',
    }),
  })
  .meta({ id: 'NewInstant' })

export type NewInstant = z.output<typeof newInstant>
