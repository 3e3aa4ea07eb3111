/**
 * Snapshots: points that a VM can return to, of its disks alone or of disks and memory, all of one instant.
 *
 * A snapshot of a disk is a layer that nobody writes to any more; what the guest writes from then on goes to an overlay of it.
 */
import { z } from 'zod'
import { resourceName, uuid } from './names.ts'
import { bytes, timestamp } from './units.ts'

/** What a snapshot has of one disk. */
const snapshotDisk = z
  .strictObject({
    disk: resourceName,
    volume: resourceName.meta({ description: 'The volume that holds what changed up to the snapshot.' }),
    pool: resourceName.optional().meta({ description: 'The pool that it lies in.' }),
    capacityBytes: bytes,
    allocatedBytes: bytes.optional(),
  })
  .meta({ id: 'SnapshotDisk' })

/** A point that a VM can return to. */
export const snapshot = z
  .strictObject({
    id: uuid,
    vm: resourceName,
    name: resourceName,
    description: z.string(),
    parent: resourceName.optional().meta({ description: 'The snapshot that the VM was at before.' }),
    current: z.boolean().meta({ description: 'The disks of now are what came after this one.' }),
    state: z.enum(['creating', 'ready', 'deleting']),
    createdAt: timestamp,
    quiesced: z.boolean().meta({ description: 'The guest had its file systems frozen.' }),
    pauseMs: z
      .number()
      .optional()
      .meta({ description: 'How long the disks of a running guest waited; with memory, how long it stood.' }),
    memoryBytes: bytes.optional().meta({ description: 'The size of its memory; absent for disks alone.' }),
    sizeBytes: bytes.meta({ description: 'What its layers and its memory occupy.' }),
    disks: z.array(snapshotDisk),
  })
  .meta({ id: 'Snapshot' })

export type Snapshot = z.output<typeof snapshot>

/** The body of `snapshot create`. */
export const createSnapshotBody = z
  .strictObject({
    name: resourceName,
    description: z.string().max(4096).default(''),
    memory: z
      .boolean()
      .default(false)
      .meta({ description: 'The memory of the running guest too, which stands until it is written.' }),
    quiesce: z
      .boolean()
      .default(false)
      .meta({ description: 'Let the guest agent freeze the file systems of a running guest meanwhile.' }),
  })
  .meta({ id: 'CreateSnapshot' })

/** The body of `snapshot revert`. */
export const revertSnapshotBody = z
  .strictObject({
    keep: z
      .boolean()
      .default(false)
      .meta({ description: 'Keep what the disks hold now as volumes of their own.' }),
  })
  .meta({ id: 'RevertSnapshot' })
