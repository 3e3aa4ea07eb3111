/**
 * One thing at a time, in the order of asking, with a bounded queue.
 *
 * Invariant: a turn that was given up while it waited never begins, and keeps nobody waiting.
 */

/** A queue of turns. */
export class Turns {
  readonly #maxWaiting: number
  #last: Promise<void> = Promise.resolve()
  #count = 0

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting
  }

  /** True when no more may wait. */
  get isFull(): boolean {
    return this.#count > this.#maxWaiting
  }

  /** Waits for its turn and does `work`; rejects with the signal's reason when that comes first. */
  async take<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#last
    const turn = Promise.withResolvers<void>()
    this.#last = before.then(() => turn.promise)
    this.#count++
    try {
      await unlessAborted(before, signal)
      return await work()
    } finally {
      this.#count--
      turn.resolve()
    }
  }
}

async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
