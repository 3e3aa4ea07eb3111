/**
 * The queue before a VM's seat: one sits, the others wait their turn or are sent away.
 *
 * Invariant: between the beginning and the end of a turn nobody else has one. A turn that is `long` is not waited for: who comes
 * then is refused with `busy`, unless it preempts, which aborts the long turn, and those that wait, before it takes the next place.
 */
import { KvasirError } from '@kvasir/contract'

/** Turns that may wait for one VM. */
const maxWaitingTurns = 64

export interface Turn {
  readonly label: string
  readonly jobId: string | undefined
  /** Long turns are refused to others instead of waited for. */
  readonly long: boolean
  /** Ends long turns that are in its way; answers what those fail with. */
  readonly preempt: ((endedLabel: string) => Error) | undefined
}

interface AbortableTurn extends Turn {
  readonly abort: AbortController
}

export class SeatQueue {
  #sitting: AbortableTurn | undefined
  #tail: Promise<void> = Promise.resolve()
  readonly #waiting = new Set<AbortableTurn>()
  #closed: Error | undefined
  readonly #describe: () => string

  constructor(describe: () => string) {
    this.#describe = describe
  }

  /** Who sits now. */
  get sitting(): Turn | undefined {
    return this.#sitting
  }

  /** Runs `work` as soon as the seat is free. */
  async take<T>(turn: Turn, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closed) throw this.#closed
    this.#makeWay(turn)
    if (this.#waiting.size >= maxWaitingTurns)
      throw new KvasirError(
        'too-many-requests',
        `VM ${this.#describe()} has ${maxWaitingTurns} requests waiting, so this one is refused.`,
      )

    const entry: AbortableTurn = { ...turn, abort: new AbortController() }
    this.#waiting.add(entry)
    const before = this.#tail
    const { promise: done, resolve } = Promise.withResolvers<void>()
    this.#tail = before.then(() => done)
    await before
    this.#waiting.delete(entry)

    try {
      if (this.#closed) throw this.#closed
      entry.abort.signal.throwIfAborted()
      this.#sitting = entry
      return await work(entry.abort.signal)
    } finally {
      this.#sitting = undefined
      resolve()
    }
  }

  /** Refuses all further turns and aborts the one that sits; settles when the seat is free. */
  async close(reason: Error): Promise<void> {
    this.#closed = reason
    this.#sitting?.abort.abort(reason)
    await this.#tail
  }

  /** Throws `busy` when a long turn holds the seat and this one would not preempt it. */
  requireWay(turn: Pick<Turn, 'label' | 'preempt'>): void {
    const sitting = this.#sitting
    if (sitting?.long && turn.preempt === undefined)
      throw new KvasirError(
        'busy',
        `VM ${this.#describe()} is busy with ${sitting.label}, so ${turn.label} has to come later.`,
        { details: { action: sitting.label, ...(sitting.jobId ? { job: sitting.jobId } : {}) } },
      )
  }

  #makeWay(turn: Turn): void {
    this.requireWay(turn)
    const { preempt } = turn
    if (!preempt) return
    for (const other of [this.#sitting, ...this.#waiting])
      if (other?.long) other.abort.abort(preempt(other.label))
  }
}
