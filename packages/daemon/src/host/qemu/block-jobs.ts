/**
 * Following a job of QEMU to its end. Events are hints that may be lost, so it is asked; a job that has concluded stays until it is
 * dismissed, so that nobody misses how it ended.
 */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient, QueryJobsItem } from '@kvasir/qmp'

const pollMs = 100
const shortestPollMs = 5
const cancelTimeoutMs = 30_000
const finalizeTimeoutMs = 30_000

/** What a job is doing; undefined when there is none of this id. */
export async function jobStatus(monitor: QmpClient, id: string): Promise<QueryJobsItem | undefined> {
  return (await monitor.execute('query-jobs')).find((job) => job.id === id)
}

/**
 * What a job is doing, once one that waits to be finalized is. Jobs wait for that: one that ended by itself would let go of its nodes in
 * whatever QEMU waits in just then. `stop` and `cont` wait while they move disks between threads, in the middle of a walk over the nodes of
 * that very job (QEMU 7.2, blockjob.c: child_job_change_aio_ctx, of which each step drains); the emulator died by SIGSEGV there.
 */
export async function finalizedStatus(monitor: QmpClient, id: string): Promise<QueryJobsItem | undefined> {
  const job = await jobStatus(monitor, id)
  if (job?.status !== 'pending') return job
  try {
    await monitor.execute('job-finalize', { id }, { timeoutMs: finalizeTimeoutMs })
  } catch (error) {
    if ((await jobStatus(monitor, id))?.status === 'pending') throw error
  }
  return await jobStatus(monitor, id)
}

/** Dismisses a job that has concluded; whoever else ends it may have done so first. */
export async function dismissJob(monitor: QmpClient, id: string): Promise<void> {
  try {
    await monitor.execute('job-dismiss', { id })
  } catch (error) {
    if ((await jobStatus(monitor, id)) !== undefined) throw error
  }
}

/** Waits until a job has concluded, finalizes and dismisses it. Throws `not-enough-space` or `emulator-failed` when it came to nothing. */
export async function followJob(
  monitor: QmpClient,
  id: string,
  { onProgress, signal }: { readonly onProgress: (fraction: number) => void; readonly signal: AbortSignal },
): Promise<void> {
  let waitMs = shortestPollMs
  for (;;) {
    if (signal.aborted) {
      await cancel(monitor, id)
      throw signal.reason
    }
    const job = await finalizedStatus(monitor, id)
    if (job === undefined) throw failed(id, 'it is gone')
    if (job['total-progress'] > 0) onProgress(job['current-progress'] / job['total-progress'])
    if (job.status === 'concluded') {
      await dismissJob(monitor, id)
      if (job.error !== undefined) throw failed(id, job.error)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    waitMs = Math.min(pollMs, waitMs * 2)
  }
}

async function cancel(monitor: QmpClient, id: string): Promise<void> {
  await monitor.execute('job-cancel', { id }).catch(() => undefined) // It has concluded meanwhile.
  const deadline = performance.now() + cancelTimeoutMs
  while (performance.now() < deadline) {
    const job = await jobStatus(monitor, id)
    if (job === undefined) return
    if (job.status === 'concluded') {
      await dismissJob(monitor, id)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function failed(id: string, why: string): KvasirError {
  return noSpaceOr(
    'The disk is full, so the layers were not merged.',
    `The emulator ended job ${id}: ${why}.`,
    why,
  )
}

/** What a job's error is: `not-enough-space` in the first words, else `emulator-failed` in the others. */
export function noSpaceOr(full: string, other: string, error: string | undefined): KvasirError {
  return /No space left|Disk quota exceeded/.test(error ?? '')
    ? new KvasirError('not-enough-space', full)
    : new KvasirError('emulator-failed', other)
}
