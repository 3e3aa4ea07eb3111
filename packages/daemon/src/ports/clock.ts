/** Time and chance, so that what decides can be tested. */
export interface Clock {
  /** The time of day, as an ISO 8601 string. */
  now(): string
  /** Milliseconds that only grow. */
  monotonicMs(): number
  /** Waits; rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** A fresh UUID. */
  uuid(): string
}
