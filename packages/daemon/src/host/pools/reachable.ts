/**
 * What is remembered of a server that did not answer, so that nobody waits for it twice: a call that fails for it makes the pool
 * unreachable, and later ones fail at once until a look succeeds.
 */
import { KvasirError } from '@kvasir/contract'

export interface ReachableOptions {
  /** What cannot be used, for a sentence: `The pool at <place>`. */
  readonly place: string
  /** Why an error says that the server is gone; undefined for one that does not. */
  readonly troubleOf: (error: unknown) => string | undefined
  readonly onUnreachable: (reason: string) => void
}

export class Reachable {
  readonly #options: ReachableOptions
  #trouble: string | undefined

  constructor(options: ReachableOptions) {
    this.#options = options
  }

  /** What was in the way is looked at anew. */
  tryAgain(): void {
    this.#trouble = undefined
  }

  /** Does what needs the server. Throws `pool-unreachable`. */
  async reach<T>(work: () => Promise<T>): Promise<T> {
    if (this.#trouble !== undefined) throw this.unreachable(this.#trouble)
    try {
      return await work()
    } catch (error) {
      const reason = this.#options.troubleOf(error)
      if (reason === undefined) throw error
      if (this.#trouble === undefined) {
        this.#trouble = reason
        this.#options.onUnreachable(reason)
      }
      throw this.unreachable(reason, error)
    }
  }

  /** The error of a pool that does not answer. */
  unreachable(reason: string, cause?: unknown): KvasirError {
    const { place } = this.#options
    return new KvasirError('pool-unreachable', `The pool at ${place} cannot be used: ${reason}.`, {
      details: { place, reason },
      cause,
    })
  }
}

/** What the network says of a server that cannot be spoken to, by the names of errno(3). */
const networkWords: ReadonlyMap<unknown, string> = new Map([
  ['ECONNREFUSED', 'nobody listens there'],
  ['ECONNRESET', 'it broke the connection off'],
  ['EPIPE', 'it broke the connection off'],
  ['EHOSTUNREACH', 'there is no way to its address'],
  ['ENETUNREACH', 'there is no way to its address'],
  ['ETIMEDOUT', 'it does not answer in time'],
])

/** Why a server is not to be had, by the error of a connection to it. */
export function networkTrouble(error: Error): string {
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return 'it does not answer in time'
  const code = 'code' in error ? error.code : undefined
  const port = 'port' in error && typeof error.port === 'number' ? error.port : undefined
  const words = networkWords.get(code)
  if (words === undefined) return error.message
  return code === 'ECONNREFUSED' && port !== undefined ? `${words} (port ${port})` : words
}
