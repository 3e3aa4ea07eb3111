/**
 * Wipes a volume that nobody uses: what was written on it is overwritten with zeros where it lies, and then its space is given back, so
 * that neither the volume nor its file shows any of it.
 *
 * What is broken off leaves a volume that is whole as a volume and partly wiped; wiping it again goes on. Compressed clusters are not
 * overwritten in their place, only given back. Not here: what the storage below keeps of its own accord.
 */
import type { Job } from '@kvasir/contract'
import { formatBytes, KvasirError } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import type { Caller } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { askPools } from './ask-pools.ts'
import { beginWork, endWork, requireWhole } from './hold-volume.ts'
import { sourceOf } from './volume-files.ts'
import { holderOf } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'

const wipeDeadlineMs = 7 * 24 * 3_600_000
/** Zeros that one write puts down. */
const stepBytes = 2 * 2 ** 20
/** Writes that are under way at one time. */
const writesAtOnce = 4
/** What one look at the volume covers. */
const lookBytes = 2 ** 30
/** Beside its contents, for its tables. */
const spareBytes = 2 ** 30

export interface WipeRequest {
  readonly method: 'zero' | 'discard'
}

/** Begins to wipe a volume. `in-use` for one that a VM has, whether it runs or not, or that others are based on. */
export function beginWipeVolume(
  volume: VolumeRecord,
  { method }: WipeRequest,
  { context, caller }: { readonly context: Context; readonly caller: Caller },
): Job {
  requireWhole(volume)
  requireUnused(volume, context)
  usablePlace(volume, context.ports)
  return context.jobs.run(
    {
      kind: 'volume.wipe',
      subject: { kind: 'volume', name: volume.name, id: volume.id },
      owner: caller.name,
      deadlineMs: wipeDeadlineMs,
    },
    async (job) => {
      const held = beginWork(volume, 'wiped', context)
      try {
        requireUnused(held, context) // From here on nobody is given it.
        await wipeHeld(held, job, { context, method })
      } finally {
        endWork(volume.id, context)
      }
      context.emit('volume.changed', volumeWords(volume), { id: volume.id, wiped: true })
      return volume.name
    },
  )
}

function requireUnused(volume: VolumeRecord, { ports }: Context): void {
  const holder = holderOf(volume, ports.store)
  if (!holder) return
  throw new KvasirError('in-use', `Volume ${volumeWords(volume)} is in use by ${holder}, so it is not wiped.`)
}

async function wipeHeld(
  volume: VolumeRecord,
  job: JobHandle,
  { context, method }: { readonly context: Context; readonly method: WipeRequest['method'] },
): Promise<void> {
  const { access } = context.ports
  await askPools(volume, context.ports)
  const open = await access.open([sourceOf(volume, context.ports)], {
    access: 'write',
    fileSizeBytes: 2 * volume.capacityBytes + spareBytes,
    signal: job.signal,
  })
  try {
    const overwrittenBytes = method === 'zero' ? await overwrite(open, job) : 0
    await giveBack(open, job, { everything: volume.baseId !== undefined || volume.imageId !== undefined })
    await open.flush()
    job.outcome(
      method === 'zero'
        ? `${formatBytes(overwrittenBytes)} were overwritten; the volume is empty.`
        : 'The volume is empty.',
    )
  } finally {
    await open.close()
  }
}

/** Puts zeros over all that is written; answers how much that was. */
async function overwrite(open: OpenVolume, job: JobHandle): Promise<number> {
  const zeros = new Uint8Array(stepBytes)
  const underWay = new Set<Promise<void>>()
  let overwrittenBytes = 0
  for await (const part of writtenParts(open, { everything: false })) {
    for (let at = part.offset; at < part.offset + part.lengthBytes; at += stepBytes) {
      job.signal.throwIfAborted()
      const lengthBytes = Math.min(stepBytes, part.offset + part.lengthBytes - at)
      const write: Promise<void> = open
        .write(at, zeros.subarray(0, lengthBytes))
        .finally(() => underWay.delete(write))
      write.catch(() => {}) // Whoever waits for it below is told.
      underWay.add(write)
      overwrittenBytes += lengthBytes
      if (underWay.size >= writesAtOnce) await Promise.race(underWay)
      job.progress('overwriting', (0.95 * at) / open.sizeBytes)
    }
  }
  await Promise.all(underWay)
  await open.flush()
  return overwrittenBytes
}

/** Of an overlay also what was never written, through which its base would show. */
async function giveBack(
  open: OpenVolume,
  job: JobHandle,
  { everything }: { readonly everything: boolean },
): Promise<void> {
  for await (const { offset, lengthBytes } of writtenParts(open, { everything })) {
    job.signal.throwIfAborted()
    job.progress('giving its space back', 0.95 + (0.05 * offset) / open.sizeBytes)
    await open.zero(offset, lengthBytes)
  }
}

async function* writtenParts(
  open: OpenVolume,
  { everything }: { readonly everything: boolean },
): AsyncGenerator<{ readonly offset: number; readonly lengthBytes: number }> {
  let offset = 0
  while (offset < open.sizeBytes) {
    const parts = everything
      ? [{ lengthBytes: Math.min(lookBytes, open.sizeBytes - offset), isZero: false }]
      : await open.extents(offset, Math.min(lookBytes, open.sizeBytes - offset))
    for (const { lengthBytes, isZero } of parts) {
      if (!isZero) yield { offset, lengthBytes }
      offset += lengthBytes
    }
  }
}
