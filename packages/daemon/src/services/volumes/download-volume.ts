/** A volume opened to be sent: nobody starts a VM with it, changes or deletes it for as long as it is. */
import { createHash } from 'node:crypto'
import { KvasirError, type SentContents } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { readPieces } from './contents.ts'
import { beginWork, endWork, requireNoWork, requireOff, requireWhole, withSeats } from './hold-volume.ts'
import { volumeChain } from './volume-chain.ts'
import { volumeWords } from './volume-words.ts'

/** Opens what a guest would read from a volume. `in-use` while a VM that has it is not off. */
export async function downloadVolume(
  volume: VolumeRecord,
  context: Context,
  signal: AbortSignal,
): Promise<SentContents> {
  if (volume.frozen) requireNoWork(volume)
  else requireWhole(volume)
  usablePool(volume.pool, context.ports)
  const { promise: closed, resolve: close } = Promise.withResolvers<void>()
  const { promise: opened, resolve, reject } = Promise.withResolvers<SentContents>()
  const held = withSeats(volume, context, async (seats) => {
    requireOff(volume, seats, 'is not downloaded')
    // Of a base, nothing changes while others are based on it, so it needs no lock.
    if (!volume.frozen) beginWork(volume, 'downloaded', context)
    try {
      const { open, tag } = await openToRead(volume, context, signal)
      try {
        resolve({
          // Some storage is only had in larger pieces than a volume has; what is behind it is not the volume.
          sizeBytes: Math.min(open.sizeBytes, volume.capacityBytes),
          tag,
          pieces: (from, to) => readPieces(open, from, to),
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
  const chain = volumeChain(volume, ports)
  const open = await ports.access.open(chain, { access: 'read', fileSizeBytes: 0, signal })
  try {
    const pool = usablePool(volume.pool, ports)
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
