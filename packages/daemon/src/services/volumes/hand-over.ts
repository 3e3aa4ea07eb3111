/**
 * Volumes and files of clients on this host: what is in the one goes to the other without passing through client and daemon. Some seconds
 * of it at a time, so that the client tells how far it is and can go away; what each call leaves is what a stream would have left.
 * A file is let go of before the volume, which is served until nobody has it open.
 */
import { KvasirError } from '@kvasir/contract'
import { nextParts } from '../../model/storage/next-parts.ts'
import type { ClientFile } from '../../ports/client-files.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Extent } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import { clearPart } from './contents.ts'
import { openToSend } from './download-volume.ts'
import { receivePart, type UploadProgress, type WritePart } from './receive-upload.ts'
import { requireUpload } from './upload-volume.ts'

/** So long one call copies. */
const callMs = 4_000
/** One order to the process that copies. */
const stepBytes = 64 * 2 ** 20

interface Handed {
  readonly file: ClientFile
  readonly offset: number
  readonly signal: AbortSignal
}

/** Takes a part of an upload out of a file. `revision-mismatch` when it does not begin where the last one ended. */
export async function takeUpload(
  volume: VolumeRecord,
  { file, offset, signal }: Handed,
  context: Context,
): Promise<UploadProgress> {
  const { sizeBytes } = requireUpload(volume)
  if (file.sizeBytes !== sizeBytes)
    throw new KvasirError(
      'bad-request',
      `The file has ${file.sizeBytes} bytes, not the ${sizeBytes} that were announced.`,
    )
  const write: WritePart = async (open, { end, count }) => {
    const { reached, error } = await inSteps({ from: offset, to: end }, signal, async (at) => {
      const { isZero, lengthBytes } = await file.next(at, Math.min(end, at + stepBytes))
      const part = { offset: at, lengthBytes }
      await (isZero ? clearPart(open, part) : open.take(file, part))
      return lengthBytes
    })
    file.close()
    await open.flush()
    count(reached)
    if (error !== undefined) throw error
  }
  return await endedWith(file, signal, () => receivePart(volume, { offset, signal, write }, context))
}

/** Fills a file with what a guest would read from a volume. Only with the tag of the answer before it goes on at an offset. */
export async function giveVolume(
  volume: VolumeRecord,
  { file, offset, tag, signal }: Handed & { readonly tag?: string | undefined },
  context: Context,
): Promise<UploadProgress & { readonly tag?: string }> {
  const source = await openToSend(volume, context, signal)
  try {
    const { open, sizeBytes } = source
    const from = source.tag !== undefined && source.tag === tag && offset <= sizeBytes ? offset : 0
    const copy = async () => {
      await file.resize(from)
      // Where nobody can tell whether the volume has changed, another call could not go on with this one.
      const ms = source.tag === undefined ? Number.POSITIVE_INFINITY : callMs
      let known: readonly Extent[] = []
      const { reached, error } = await inSteps({ from, to: sizeBytes, ms }, signal, async (at) => {
        if (known.length === 0) known = await open.extents(at, sizeBytes - at)
        const { parts, lengthBytes, left } = nextParts(known, { offset: at, mostBytes: stepBytes })
        if (parts.length > 0) await open.give(file, parts)
        known = left
        return lengthBytes
      })
      if (error !== undefined) throw error
      await file.resize(reached) // Zeros at its end were not written.
      file.close()
      return reached
    }
    const offsetBytes = await endedWith(file, signal, copy)
    return { offsetBytes, sizeBytes, ...(source.tag === undefined ? {} : { tag: source.tag }) }
  } finally {
    await source.close()
  }
}

/** Does step after step until its time is over; says how far it came also where one failed. */
async function inSteps(
  { from, to, ms = callMs }: { readonly from: number; readonly to: number; readonly ms?: number },
  signal: AbortSignal,
  step: (offset: number) => Promise<number>,
): Promise<{ readonly reached: number; readonly error?: unknown }> {
  const isOverAt = performance.now() + ms
  let reached = from
  try {
    while (reached < to && performance.now() < isOverAt) {
      signal.throwIfAborted()
      reached += await step(reached)
    }
    return { reached }
  } catch (error) {
    return { reached, error }
  }
}

/** Lets go of a file, and so ends what is under way with it, as soon as its client is gone. */
async function endedWith<T>(file: ClientFile, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const end = () => file.close()
  signal.addEventListener('abort', end, { once: true })
  try {
    return await work()
  } finally {
    signal.removeEventListener('abort', end)
  }
}
