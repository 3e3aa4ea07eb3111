/**
 * Takes one part of an upload. However it ends, what came is flushed and counted in the row, so that the next part begins there; what
 * was not counted when the daemon died is sent again. What lies behind the end of it all is cleared later (clear-rest.ts).
 */
import { KvasirError, type Piece, type ReceivedContents } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { PieceWriter } from './contents.ts'
import { requireNoWork } from './hold-volume.ts'
import { openUpload } from './open-upload.ts'
import { uploading } from './upload-refusal.ts'
import { expiry, requireUpload } from './upload-volume.ts'
import { volumeWords } from './volume-words.ts'

/** After so much it is counted how far it came, for a daemon that dies in the middle of a long part. */
const countEveryBytes = 256 * 2 ** 20

interface Received {
  readonly offset: number
  readonly pieces: ReceivedContents
  readonly signal: AbortSignal
}

/** How far an upload is, and how far it goes. */
export interface UploadProgress {
  readonly offsetBytes: number
  readonly sizeBytes: number
}

/** Writes a part to a volume that was opened for it, and counts how far it came, which is on the disk then. */
export type WritePart = (
  open: OpenVolume,
  limits: { readonly end: number; readonly count: (offsetBytes: number) => void },
) => Promise<void>

/** Takes a part that comes as a stream. `revision-mismatch` when it does not begin where the last one ended. */
export async function receiveUpload(
  volume: VolumeRecord,
  { offset, pieces, signal }: Received,
  context: Context,
): Promise<UploadProgress> {
  const write: WritePart = (open, limits) => writeAll(open, { offset, pieces }, limits)
  return await receivePart(volume, { offset, signal, write }, context)
}

/** Has a part written while nobody else has the volume. */
export async function receivePart(
  volume: VolumeRecord,
  part: { readonly offset: number; readonly signal: AbortSignal; readonly write: WritePart },
  context: Context,
): Promise<UploadProgress> {
  const { store, failpoint } = context.ports
  usablePlace(volume, context.ports)
  const held = hold(volume, part.offset, context)
  const { sizeBytes } = requireUpload(held)
  const count = (offsetBytes: number, { sizeBytes: wholeBytes }: OpenVolume) => {
    const now = store.volumes.get(volume.id)
    if (!now?.upload) return
    const kept = now.upload.expiresAt === undefined ? {} : { expiresAt: expiry(context) }
    const rest = offsetBytes === sizeBytes && wholeBytes > sizeBytes ? { restFrom: sizeBytes } : {}
    store.volumes.update({ ...now, upload: { ...now.upload, ...kept, offsetBytes, ...rest } })
  }
  try {
    const { open, source } = await openUpload(held, part.signal, context)
    try {
      const limits = { end: sizeBytes, count: (reached: number) => count(reached, open) }
      await uploading({ words: volumeWords(held), source }, () => part.write(open, limits))
    } finally {
      await open.close()
    }
    await failpoint('volume.upload.after-part')
    return { offsetBytes: requireUpload(store.volumes.get(volume.id) ?? held).offsetBytes, sizeBytes }
  } finally {
    const now = store.volumes.get(volume.id)
    if (now) {
      const { work: _, ...rest } = now
      store.volumes.update(rest)
    }
  }
}

/** Writes pieces; whatever they end with, counts what is on the disk. */
async function writeAll(
  open: OpenVolume,
  { offset, pieces }: Pick<Received, 'offset' | 'pieces'>,
  { end, count }: { readonly end: number; readonly count: (offsetBytes: number) => void },
): Promise<void> {
  const writer = new PieceWriter(open, { offset, end })
  let uncountedBytes = 0
  const settle = async () => {
    const reached = await writer.settle()
    count(reached)
    uncountedBytes = 0
  }
  try {
    for await (const piece of pieces) {
      await writer.write(piece)
      uncountedBytes += lengthOf(piece)
      if (uncountedBytes >= countEveryBytes) await settle()
    }
  } catch (error) {
    await settle().catch(() => {}) // What was counted before counts.
    throw error
  }
  await settle()
}

function lengthOf(piece: Piece): number {
  return piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes
}

function hold(volume: VolumeRecord, offset: number, { ports }: Context): VolumeRecord {
  const { store } = ports
  return store.transaction(() => {
    const now = store.volumes.get(volume.id) ?? volume
    requireNoWork(now)
    const { offsetBytes } = requireUpload(now)
    if (offset !== offsetBytes)
      throw new KvasirError(
        'revision-mismatch',
        `Of volume ${volumeWords(now)} there are ${offsetBytes} bytes, so a part that begins at ${offset} is not taken.`,
        { details: { offsetBytes } },
      )
    const held: VolumeRecord = { ...now, work: 'uploaded' }
    store.volumes.update(held)
    return held
  })
}
