/** Waiting for one event, with a deadline; register it before the command that causes the event. */
import type { QmpClient } from './client.ts'
import { describeCloseReason, QmpClosedError, QmpTimeoutError } from './errors.ts'
import type { EventName, QmpEvent } from './messages.ts'

/** Limits the wait; `matching` chooses among events of the same name, such as one device's. */
export interface WaitForEventOptions<E extends EventName> {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
  readonly matching?: (event: QmpEvent<E>) => boolean
}

/**
 * The next matching event. Rejects with QmpTimeoutError, with QmpClosedError when the connection ends
 * first, and with the signal's reason when aborted.
 */
export async function waitForEvent<E extends EventName>(
  client: QmpClient,
  event: E,
  options: WaitForEventOptions<E>,
): Promise<QmpEvent<E>> {
  options.signal?.throwIfAborted()
  const { timeoutMs, signal } = options
  const found = Promise.withResolvers<QmpEvent<E>>()
  const unsubscribe = client.on(event, (candidate) => {
    if (options.matching?.(candidate) ?? true) found.resolve(candidate)
  })
  const onAbort = (): void => found.reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => {
    const message = `QEMU sent no ${event} event within ${timeoutMs} ms, so what it would tell is unknown.`
    found.reject(new QmpTimeoutError(message, { awaited: event, timeoutMs }))
  }, timeoutMs)
  const onClosed = (): void => {
    const reason = client.closeReason ?? { kind: 'ended-by-peer' }
    const message = `The monitor at ${client.path} is closed: ${describeCloseReason(reason)}; no ${event} event will come.`
    found.reject(new QmpClosedError(message, { reason }))
  }
  const forgetClosed = client.onClosed(onClosed)
  if (client.closeReason !== undefined) onClosed()
  try {
    return await found.promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    unsubscribe()
    forgetClosed()
  }
}
