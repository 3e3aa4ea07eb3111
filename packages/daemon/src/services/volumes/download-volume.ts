/** A volume opened to be sent: nobody starts a VM with it, changes or deletes it for as long as it is. */
import { createHash } from 'node:crypto'
import { KvasirError, type SentContents } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { askPools } from './ask-pools.ts'
import { readPieces } from './contents.ts'
import { beginWork, endWork, requireNoWork, requireOff, requireWhole, withSeats } from './hold-volume.ts'
import { volumeChain } from './volume-chain.ts'
import { volumeWords } from './volume-words.ts'

/** A volume that is read by somebody outside, and nobody else's as long as it is open. */
export interface VolumeToSend {
  readonly open: OpenVolume
  readonly sizeBytes: number
  /** Changes with the contents; undefined where nobody can tell whether they have. */
  readonly tag: string | undefined
  close(): Promise<void>
}

/** What a guest would read from a volume, as a stream. */
export async function downloadVolume(
  volume: VolumeRecord,
  context: Context,
  signal: AbortSignal,
): Promise<SentContents> {
  const { open, ...rest } = await openToSend(volume, context, signal)
  return { ...rest, pieces: (from, to) => readPieces(open, from, to) }
}

/** Opens what a guest would read from a volume. `in-use` while a VM that has it is not off. */
export async function openToSend(
  volume: VolumeRecord,
  context: Context,
  signal: AbortSignal,
): Promise<VolumeToSend> {
  if (volume.frozen) requireNoWork(volume)
  else requireWhole(volume)
  usablePlace(volume, context.ports)
  const { promise: closed, resolve: close } = Promise.withResolvers<void>()
  const { promise: opened, resolve, reject } = Promise.withResolvers<VolumeToSend>()
  const held = withSeats(volume, context, async (seats) => {
    requireOff(volume, seats, 'is not downloaded')
    // Of a base, nothing changes while others are based on it, so it needs no lock.
    if (!volume.frozen) beginWork(volume, 'downloaded', context)
    try {
      const { open, tag } = await openToRead(volume, context, signal)
      try {
        resolve({
          open,
          // Some storage is only had in larger pieces than a volume has; what is behind it is not the volume.
          sizeBytes: Math.min(open.sizeBytes, volume.capacityBytes),
          tag,
          async close() {
            close()
            await held.catch(() => {})
          },
        })
        await closed
      } finally {
        await open.close()
      }
    } finally {
      if (!volume.frozen) endWork(volume.id, context)
    }
  })
  held.catch(reject)
  return await opened
}

async function openToRead(
  volume: VolumeRecord,
  { ports }: Context,
  signal: AbortSignal,
): Promise<{ readonly open: OpenVolume; readonly tag: string | undefined }> {
  await askPools(volume, ports)
  const chain = volumeChain(volume, ports)
  const open = await ports.access.open(chain, { access: 'read', fileSizeBytes: 0, signal })
  try {
    const pool = usablePlace(volume, ports)
    const stamp = await pool.stamp?.(volume)
    // What it lies on does not change: bases are frozen, and images are never written.
    const words = [volume.id, volume.baseId ?? '', String(open.sizeBytes), stamp]
    const tag = stamp === undefined ? undefined : createHash('sha256').update(words.join('\n')).digest('hex')
    return { open, tag: tag?.slice(0, 32) }
  } catch (error) {
    await open.close()
    if (error instanceof KvasirError) throw error
    throw new KvasirError(
      'host-failed',
      `Volume ${volumeWords(volume)} cannot be looked at, so it is not sent.`,
      {
        cause: error,
      },
    )
  }
}
