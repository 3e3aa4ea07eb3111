/**
 * Whether a disk's requests go through the page cache of the host.
 *
 * A file of this host alone is read ahead and written behind there, which single requests gain most from: past it, a guest was up to 1.7
 * times as slow as one of virt-install, which says nothing and so gets QEMU's default (docs/benchmarks.md). What the guest flushes is
 * on the disk either way (docs of qemu-system: `cache.direct`). Block devices go past it, as virt-install has it too; so does what other
 * hosts may read or a server may refuse: its errors would come after the write was answered.
 */
import { type CacheMode, type DiskSpec, isCdrom } from '@kvasir/contract'

/** The choice for a disk, with its reason as a clause that can follow `because`. */
export interface CacheChoice {
  readonly mode: CacheMode
  readonly reason: string
}

/** What a disk's volume lies on. */
export interface CacheGround {
  /** On a file system that this host alone has. */
  readonly isLocal: boolean
  /** Whether that takes requests past the page cache. */
  readonly directIo: boolean
}

/** Chooses for what the volume lies on, where the spec does not say. */
export function chooseCache(
  disk: Pick<DiskSpec, 'device' | 'cache' | 'aio' | 'shareable'>,
  { isLocal, directIo }: CacheGround,
): CacheChoice {
  const { cache, aio, shareable } = disk
  if (cache === 'unsafe' || cache === 'writeback') return { mode: cache, reason: 'the spec says so' }
  // What is only read is best kept in memory, and may lie where there is no direct I/O.
  if (isCdrom(disk)) return { mode: 'writeback', reason: 'it is only read' }
  if (!directIo) return { mode: 'writeback', reason: 'its file system knows nothing else' }
  if (cache === 'none') return { mode: 'none', reason: 'the spec says so' }
  if (shareable) return { mode: 'none', reason: 'several VMs share it' }
  if (aio === 'native') return { mode: 'none', reason: 'native AIO would wait in the page cache' }
  return isLocal
    ? { mode: 'writeback', reason: 'the page cache reads files of this host ahead' }
    : { mode: 'none', reason: 'it lies on no file system of this host alone' }
}

/** The choice as options of a block node. */
export function cacheOptions({ mode }: CacheChoice): {
  readonly direct: boolean
  readonly 'no-flush': boolean
} {
  return { direct: mode === 'none', 'no-flush': mode === 'unsafe' }
}
