/**
 * Makes a clone independent of its origin where its pool does that by itself, whoever has it open.
 *
 *     row: `flattened` ─▶ the pool copies what is still read of the origin ─▶ row: no origin
 *
 * Broken off, it is begun again: the pool knows what is left.
 */
import { type Job, KvasirError } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import type { Asked } from './copy-volume.ts'
import { beginWork, endWork } from './hold-volume.ts'
import { volumeWords } from './volume-words.ts'

const deadlineMs = 24 * 3_600_000

/** Begins to flatten a volume of a pool that does it by itself. */
export function beginNativeFlatten(volume: VolumeRecord, asked: Asked): Job {
  const { context } = asked
  return begin(volume, asked, async (job) => {
    await context.ports.failpoint('volume.flatten.before-row')
    beginWork(volume, 'flattened', context)
    const wasClone = await flatten(volume, { context, job })
    if (wasClone) return
    throw new KvasirError(
      'bad-request',
      `Volume ${volumeWords(volume)} is based on no other, so there is nothing to flatten.`,
    )
  })
}

/** Goes on with what a former daemon had begun. */
export function resumeNativeFlatten(volume: VolumeRecord, context: Context): void {
  begin(volume, { context, caller: { name: 'recovery' }, keep: () => {} }, async (job) => {
    await flatten(volume, { context, job })
  })
}

function begin(
  volume: VolumeRecord,
  { context, caller, keep }: Asked,
  work: (job: JobHandle) => Promise<void>,
): Job {
  return context.jobs.run(
    {
      kind: 'volume.flatten',
      subject: { kind: 'volume', name: volume.name, id: volume.id },
      owner: caller.name,
      deadlineMs,
      alongside: keep,
    },
    async (job) => {
      await work(job)
      return volume.name
    },
  )
}

/** Answers whether there was anything to copy. */
async function flatten(
  volume: VolumeRecord,
  { context, job }: { readonly context: Context; readonly job: JobHandle },
): Promise<boolean> {
  const { ports } = context
  try {
    await ports.failpoint('volume.flatten.after-row')
    const pool = usablePlace(volume, ports)
    const wasClone = await pool.flatten?.(volume, {
      signal: job.signal,
      onProgress: (fraction) =>
        job.progress(`copying what ${volumeWords(volume)} reads of its origin`, fraction),
    })
    await ports.failpoint('volume.flatten.after-merge')
    forgetOrigin(volume, context)
    return wasClone ?? false
  } finally {
    const { reason } = job.signal
    const isLeaving = reason instanceof KvasirError && reason.code === 'shutting-down'
    if (!isLeaving) endWork(volume.id, context)
  }
}

function forgetOrigin(volume: VolumeRecord, { ports, emit }: Context): void {
  const { store } = ports
  store.transaction(() => {
    const now = store.volumes.get(volume.id)
    if (now === undefined) return
    store.volumes.update({ ...now, originId: undefined })
    emit('volume.changed', volumeWords(volume), { id: volume.id })
  })
}
