/**
 * What carries a disk's requests from QEMU to the host: threads that wait, Linux' native AIO, or io_uring.
 *
 * Native AIO does not wait only past the page cache and on blocks that are there already (io_submit(2)), so it is chosen for block
 * devices alone: a file that grows would make QEMU wait. Nothing is said of threads, which are QEMU's default.
 */
import type { AioMode, DiskSpec } from '@kvasir/contract'
import type { VolumeSource } from '../storage/volume-source.ts'

/** The choice for a disk, with its reason as a clause that can follow `because`. */
export interface AioChoice {
  readonly mode: AioMode | 'driver'
  readonly reason: string
}

/** Chooses for what the top of a disk lies on. What is asked for and does not go here becomes threads, and the reason says why. */
export function chooseAio(
  { aio }: Pick<DiskSpec, 'aio'>,
  on: {
    readonly source: VolumeSource
    readonly direct: boolean
    readonly noIoUring?: string | undefined
  },
): AioChoice {
  const { source, direct, noIoUring } = on
  if (source.kind === 'protocol')
    return { mode: 'driver', reason: `QEMU speaks ${source.driver} to the storage itself` }
  if (aio === 'threads') return { mode: 'threads', reason: 'the spec says so' }
  if (aio === 'io_uring')
    return noIoUring === undefined
      ? { mode: 'io_uring', reason: 'the spec says so' }
      : { mode: 'threads', reason: `the spec says io_uring, but ${noIoUring}` }
  if (!direct) {
    const reason = 'its requests go through the page cache, where native AIO would wait'
    return { mode: 'threads', reason: aio === 'native' ? `the spec says native, but ${reason}` : reason }
  }
  if (aio === 'native') return { mode: 'native', reason: 'the spec says so' }
  return source.kind === 'device'
    ? { mode: 'native', reason: 'a block device takes requests past the page cache without waiting' }
    : { mode: 'threads', reason: 'a file may grow, for which native AIO would wait' }
}

/** The choice as an option of a block node. */
export function aioOption({ mode }: AioChoice): 'native' | 'io_uring' | undefined {
  return mode === 'native' || mode === 'io_uring' ? mode : undefined
}
