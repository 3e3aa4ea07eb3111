/** Jobs of QEMU that copy while the guest writes: followed until they have come so far, and dismissed when they have ended. */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import type { FollowOptions } from '../../ports/emulator-mirrors.ts'
import { dismissJob, jobStatus, noSpaceOr } from './block-jobs.ts'

/** How often a job is looked at that holds the guest's requests, or is about to. */
export const closePollMs = 3

/** Whether a job that is so does nothing any more. */
export function isEnded(status: string): boolean {
  return status === 'concluded' || status === 'null'
}

/** Waits until a job has come so far. `not-enough-space`, `emulator-failed` when it ended. */
export async function followUntil(
  monitor: QmpClient,
  mirror: { readonly job: string; readonly disk: string },
  { until, everyMs, onProgress, signal }: FollowOptions & { until: 'ready' | 'pending'; everyMs: number },
): Promise<void> {
  const id = mirror.job
  for (;;) {
    signal.throwIfAborted()
    const job = await jobStatus(monitor, id)
    if (job === undefined || isEnded(job.status) || job.status === 'aborting')
      throw noSpaceOr(
        `The disk that ${mirror.disk} is copied to is full, so it stays where it is.`,
        `The emulator ended the copying of disk ${mirror.disk}: ${job?.error ?? 'the job is gone'}.`,
        job?.error,
      )
    if (job.status === until || job.status === 'pending') return
    await onProgress({
      copiedBytes: job['current-progress'],
      totalBytes: job['total-progress'],
      isSame: job.status === 'ready',
    })
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}

/** Waits until a job has concluded, and dismisses it. */
export async function dismiss(monitor: QmpClient, id: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const job = await jobStatus(monitor, id)
    if (job === undefined) return
    if (job.status === 'concluded') {
      await dismissJob(monitor, id)
      return
    }
    if (performance.now() > deadline)
      throw new KvasirError(
        'emulator-failed',
        `The emulator has not ended job ${id} in ${timeoutMs / 1000} s: what it writes to does not answer.`,
      )
    await new Promise((resolve) => setTimeout(resolve, closePollMs))
  }
}
