/** A turn in the seat for work that goes on beside a guest: once the long action that may hold the seat is over. */
import { KvasirError } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'

/** How often a seat that is taken is asked for again, and how many times. */
const retryMs = 500
const mostRetries = 240

/** The longest that is waited for the seat. */
export const longestWaitMs = retryMs * mostRetries

/** Takes the seat. `busy` when a long action holds it for too long. */
export async function takeWhenFree<T>(
  driver: Driver,
  { ports, signal }: { readonly ports: Ports; readonly signal: AbortSignal },
  work: (seat: Seat) => Promise<T>,
): Promise<T> {
  for (let retries = 0; ; retries++) {
    try {
      return await driver.take('edit', work)
    } catch (error) {
      const isBusy = error instanceof KvasirError && error.code === 'busy'
      if (!isBusy || retries >= mostRetries) throw error
      await ports.clock.sleep(retryMs, signal)
    }
  }
}
