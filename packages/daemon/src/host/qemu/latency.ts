/**
 * Histograms of how long the requests of disks took.
 *
 * QEMU counts once it is told to (block-latency-histogram-set), which costs a start nothing: it is told by whoever first asks for
 * statistics. Of a virtio device that takes the path of the part behind its PCI function, which query-blockstats gives.
 */
import { type DiskLatency, latencyBounds } from '@kvasir/contract'
import type { QmpClient, QueryBlockstatsItem } from '@kvasir/qmp'

const queryTimeoutMs = 1_000
const nanosecondsPerMicrosecond = 1_000

/** Has QEMU count for a disk that it does not count for yet. */
export async function countLatency(monitor: QmpClient, { qdev, stats }: QueryBlockstatsItem): Promise<void> {
  if (qdev === undefined || stats.rd_latency_histogram !== undefined) return
  const boundaries = latencyBounds.map((bound) => bound * nanosecondsPerMicrosecond)
  await monitor.execute(
    'block-latency-histogram-set',
    { id: qdev, boundaries },
    { timeoutMs: queryTimeoutMs },
  )
}

/** What was counted; undefined before QEMU counts, and where the bounds are not ours. */
export function latencyOf({ stats }: QueryBlockstatsItem): DiskLatency | undefined {
  const reads = stats.rd_latency_histogram?.bins
  const writes = stats.wr_latency_histogram?.bins
  const flushes = stats.flush_latency_histogram?.bins
  if (reads === undefined || writes === undefined || flushes === undefined) return undefined
  if ([reads, writes, flushes].some((bins) => bins.length !== latencyBounds.length + 1)) return undefined
  return { bounds: [...latencyBounds], reads: [...reads], writes: [...writes], flushes: [...flushes] }
}
