/**
 * The memory of a snapshot: written while the guest stands, after its disks went over to their overlays, so that both are of one instant.
 *
 * The intent is that of saving, so that recovery lets the guest go on. Until the file is whole the snapshot is without memory, and one
 * that was to have it is deleted again (switch-layers.ts).
 */
import { KvasirError } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SavedMemory } from '../../ports/store.ts'
import type { JobHandle } from '../jobs/live-job.ts'

/** Refuses where there is no memory to save, or nobody would know what it fits. */
export function requireMemory({ record, emulator }: Seat): void {
  const { name, life, run } = record
  if (!emulator || !run)
    throw new KvasirError(
      'wrong-state',
      `VM ${name} is ${life.state}, so it has no memory to take a snapshot of.`,
    )
  if (!run.bootedHardware)
    throw new KvasirError(
      'wrong-state',
      `VM ${name} was started by a version of Kvasir that did not note its hardware, so its memory is in no snapshot; shut it down and start it first.`,
    )
}

interface MemoryWork {
  readonly ports: Ports
  readonly job: JobHandle
  /** Lets the disks go over to their overlays. */
  readonly goOver: () => Promise<unknown>
}

/** Saves the memory of a guest beside its disks, and lets it go on. `pauseMs` is how long it stood. */
export async function withMemory(
  seat: Seat,
  snapshotId: string,
  { ports, job, goOver }: MemoryWork,
): Promise<{ readonly pauseMs: number; readonly memory: SavedMemory }> {
  const { emulator, record } = seat
  const { life, run } = record
  if (!emulator || !run?.bootedHardware) throw new TypeError('requireMemory comes before.')
  const wasRunning = life.state === 'running'
  seat.update({
    intent: wasRunning ? 'save' : 'save-paused',
    life: seat.life('paused', 'a snapshot of its memory is being taken'),
  })
  const startedAt = ports.clock.monotonicMs()
  try {
    await emulator.pause()
    await goOver()
    await ports.failpoint('snapshot.memory.before-save')
    await emulator.saveTo(ports.files.partialSavePath(record.id), {
      signal: AbortSignal.any([seat.signal, job.signal]),
      onProgress: ({ transferredBytes, totalBytes }) =>
        job.progress('saving memory', totalBytes > 0 ? transferredBytes / totalBytes : undefined),
    })
    const { sizeBytes } = await ports.files.keepMemory(record.id, snapshotId)
    await ports.failpoint('snapshot.memory.after-file')
    const booted = { spec: run.bootedSpec, hardware: run.bootedHardware }
    return {
      pauseMs: ports.clock.monotonicMs() - startedAt,
      memory: { sizeBytes, at: ports.clock.now(), booted },
    }
  } finally {
    await ports.files.removeSave(record.id)
    // Its memory was written, so it stands at the end of a migration; a guest that was paused stands anyway.
    if (wasRunning) await emulator.resume()
    seat.update({ intent: 'none', life })
  }
}
