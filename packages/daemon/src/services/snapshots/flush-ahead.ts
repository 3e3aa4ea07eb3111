/**
 * What guests wrote into the page cache goes to the disk before the moment of a snapshot. The emulator flushes within it (blockdev.c of
 * QEMU: external_snapshot_prepare), so whatever is left by then is waited for with the disks standing still.
 */
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { cacheOf } from './layer-options.ts'
import type { DiskSwitch } from './plan-switch.ts'

/** A guest that writes as fast as the disk takes it never comes to an end, so it is not waited for any longer then. */
const mostPasses = 6
/** What is flushed in this time is little enough to be flushed again within the moment. */
const enoughMs = 8

/**
 * Begins to flush what the emulator holds in the page cache, while all else is made ready. Answers what is to be waited for before the
 * moment: for the end of that, and of more passes, as long as they take long. `job-cancelled` by the signal.
 */
export function beginFlush(
  { record: { run } }: Seat,
  disks: readonly DiskSwitch[],
  { ports, signal }: { readonly ports: Ports; readonly signal: AbortSignal },
): () => Promise<void> {
  const written = disks.filter(({ disk: name, kind, volume }) => {
    const disk = run?.bootedSpec.disks.find((one) => one.name === name)
    return kind === 'overlay' && disk !== undefined && cacheOf({ disk, volume }, ports).mode !== 'none'
  })
  const flush = async () => {
    await Promise.all(written.map(async ({ volume }) => await usablePlace(volume, ports).flush?.(volume)))
  }
  const first = flush()
  first.catch(() => {}) // Who waits for it is told.
  return async () => {
    await first
    if (written.length === 0) return
    for (let pass = 1; pass < mostPasses; pass += 1) {
      signal.throwIfAborted()
      const startedAt = ports.clock.monotonicMs()
      await flush()
      if (ports.clock.monotonicMs() - startedAt <= enoughMs) return
    }
  }
}
