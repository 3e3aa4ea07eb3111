/** A clock that stands until a test moves it. */
import type { Clock } from '../ports/clock.ts'

interface Sleeper {
  readonly wakesAtMs: number
  wake(): void
}

export class SimulatedClock implements Clock {
  #elapsedMs = 0
  #uuids = 0
  #sleepers: Sleeper[] = []
  readonly #epochMs: number

  constructor(epoch = '2026-01-01T00:00:00.000Z') {
    this.#epochMs = Date.parse(epoch)
  }

  now(): string {
    return new Date(this.#epochMs + this.#elapsedMs).toISOString()
  }

  monotonicMs(): number {
    return this.#elapsedMs
  }

  uuid(): string {
    return `00000000-0000-4000-8000-${(++this.#uuids).toString(16).padStart(12, '0')}`
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (ms <= 0) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const sleeper: Sleeper = { wakesAtMs: this.#elapsedMs + ms, wake: resolve }
    const onAbort = () => {
      this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
      reject(signal?.reason)
    }
    this.#sleepers.push(sleeper)
    signal?.addEventListener('abort', onAbort, { once: true })
    await promise.finally(() => signal?.removeEventListener('abort', onAbort))
  }

  /** How many sleep: what a test waits for before it moves the clock. */
  get sleeping(): number {
    return this.#sleepers.length
  }

  /** Moves on, waking each sleeper at its time and letting it do what it then does. */
  async advance(ms: number): Promise<void> {
    const until = this.#elapsedMs + ms
    for (;;) {
      const [next] = this.#sleepers.toSorted((a, b) => a.wakesAtMs - b.wakesAtMs)
      if (!next || next.wakesAtMs > until) break
      this.#elapsedMs = next.wakesAtMs
      this.#sleepers = this.#sleepers.filter((other) => other !== next)
      next.wake()
      await turn()
    }
    this.#elapsedMs = until
    await turn()
  }
}

/** Lets everything run that is ready to. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
