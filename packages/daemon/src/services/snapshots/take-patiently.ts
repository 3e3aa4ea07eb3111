/** Taking the seat of a VM in the course of a long work: what others do meanwhile is waited for. */
import { KvasirError, type VmAction } from '@kvasir/contract'
import type { Clock } from '../../ports/clock.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'

const retryMs = 100

/** Takes the seat as soon as no long action holds it. */
export async function takePatiently<T>(
  driver: Driver,
  action: VmAction | 'edit',
  work: (seat: Seat) => Promise<T>,
  patience: { readonly clock: Clock; readonly signal: AbortSignal; readonly jobId: string },
): Promise<T> {
  for (;;) {
    try {
      return await driver.take(action, work, { jobId: patience.jobId })
    } catch (error) {
      const isPassing = error instanceof KvasirError && isSeatTaken(error)
      if (!isPassing) throw error
    }
    await patience.clock.sleep(retryMs, patience.signal)
  }
}

/** `busy` because of an action, not because of a snapshot. */
function isSeatTaken({ code, details }: KvasirError): boolean {
  return code === 'busy' && details['action'] !== undefined
}
