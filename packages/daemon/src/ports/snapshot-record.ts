/**
 * A snapshot's row as text, and back.
 *
 * `phase` is the journal: `creating` is undone; at `switching` the overlays exist and may be what the guest writes to, so it is finished
 * unless an emulator says that they are not; `deleting` is finished.
 */
import { vmSpec } from '@kvasir/contract'
import { z } from 'zod'
import type { SavedMemory } from './store.ts'
import { readSavedMemory, savedMemory } from './vm-record.ts'

const layer = z.object({
  disk: z.string().min(1),
  /** The volume that is or becomes the snapshot's layer. */
  volumeId: z.string().min(1),
  /** The volume that takes its place on top, until the snapshot is ready. */
  successorId: z.string().min(1).optional(),
  /** The clone of the volume that becomes the layer in its place, until the snapshot is ready. */
  copyId: z.string().min(1).optional(),
  /** While it is deleted: what lies on the volume goes into it, so the snapshot cannot be gone back to any more. */
  sinks: z.boolean().optional(),
  /** The volume that went into it, and is not gone yet. */
  sunkId: z.string().min(1).optional(),
})

const record = z.object({
  id: z.string().min(1),
  vmId: z.string().min(1),
  name: z.string().min(1),
  description: z.string(),
  parentId: z.string().optional(),
  createdAt: z.string(),
  phase: z.enum(['creating', 'switching', 'ready', 'deleting']),
  /** What the disks of now came from. */
  isCurrent: z.boolean(),
  quiesced: z.boolean(),
  pauseMs: z.number().optional(),
  /** It is to have the memory; without `memory` it does not have it yet. */
  wantsMemory: z.boolean().default(false),
  memory: savedMemory.optional(),
  /** The copy of the variables of its UEFI, where it had any; written before anything goes over. */
  nvramId: z.string().min(1).optional(),
  spec: vmSpec,
  layers: z.array(layer),
})

/** A snapshot of a VM. */
export type SnapshotRecord = Readonly<
  Omit<z.output<typeof record>, 'layers' | 'parentId' | 'pauseMs' | 'memory'>
> & {
  readonly parentId: string | undefined
  readonly pauseMs: number | undefined
  readonly memory: SavedMemory | undefined
  readonly layers: readonly SnapshotLayer[]
}

/** What a snapshot has of one disk. */
export interface SnapshotLayer {
  readonly disk: string
  readonly volumeId: string
  readonly successorId?: string | undefined
  readonly copyId?: string | undefined
  readonly sinks?: boolean | undefined
  readonly sunkId?: string | undefined
}

/** Reads a snapshot from JSON text; undefined when it does not fit. */
export function decodeSnapshot(text: string): SnapshotRecord | undefined {
  try {
    const { parentId, pauseMs, memory, ...rest } = record.parse(JSON.parse(text))
    return { ...rest, parentId, pauseMs, memory: memory && readSavedMemory(memory) }
  } catch {
    return undefined
  }
}
