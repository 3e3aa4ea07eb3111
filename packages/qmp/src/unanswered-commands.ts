/**
 * The commands of one connection that have been sent and not been answered.
 *
 * Invariant: a command leaves this table only by its answer or by the end of the connection. One that
 * timed out or was aborted has rejected, but still counts, because its answer is still to come.
 *
 * Ids are unique to a connection: QEMU may give the next client a reply that the previous one did not
 * wait for.
 */
import { randomBytes } from 'node:crypto'

/** The longest wait that a timer of Node can express. */
const maxTimerMs = 2 ** 31 - 1

/** How long to wait, and with what error the wait ends. */
export interface Patience {
  readonly timeoutMs: number
  readonly timeoutError: () => Error
  readonly signal?: AbortSignal | undefined
}

interface Unanswered {
  readonly command: string
  /** Undefined once the caller has given up. */
  settle: { resolve: (value: unknown) => void; reject: (error: unknown) => void } | undefined
}

/** Matches answers with commands by id. */
export class UnansweredCommands {
  readonly #prefix = randomBytes(6).toString('hex')
  readonly #byId = new Map<string, Unanswered>()
  #lastId = 0

  /** All that are unanswered, given up or not. */
  get count(): number {
    return this.#byId.size
  }

  /** Enters a command; `answer` settles by `resolve`, `reject`, `rejectAll`, the time-out or the signal. */
  begin(command: string, patience: Patience): { readonly id: string; readonly answer: Promise<unknown> } {
    const id = `${this.#prefix}-${++this.#lastId}`
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const entry: Unanswered = { command, settle: { resolve, reject } }
    this.#byId.set(id, entry)
    const giveUp = (error: unknown): void => {
      entry.settle = undefined
      reject(error)
    }
    const timer = setTimeout(() => giveUp(patience.timeoutError()), Math.min(patience.timeoutMs, maxTimerMs))
    const onAbort = (): void => giveUp(patience.signal?.reason)
    patience.signal?.addEventListener('abort', onAbort, { once: true })
    const answer = promise.finally(() => {
      clearTimeout(timer)
      patience.signal?.removeEventListener('abort', onAbort)
    })
    return { id, answer }
  }

  /**
   * Ends a command with its answer, made by `read` from the command's name: a value, or an Error to reject
   * with. False when no such command is known; a given-up one is known and its answer dropped.
   */
  end(id: unknown, read: (command: string) => unknown): boolean {
    const entry = typeof id === 'string' ? this.#byId.get(id) : undefined
    if (entry === undefined || typeof id !== 'string') return false
    this.#byId.delete(id)
    if (entry.settle === undefined) return true
    const outcome = read(entry.command)
    if (outcome instanceof Error) entry.settle.reject(outcome)
    else entry.settle.resolve(outcome)
    return true
  }

  /** Rejects each command that is still waited for, and forgets all. */
  rejectAll(errorFor: (command: string) => Error): void {
    const entries = [...this.#byId.values()]
    this.#byId.clear()
    for (const { command, settle } of entries) settle?.reject(errorFor(command))
  }
}
