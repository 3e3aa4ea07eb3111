/**
 * Walks through the page tables of emulators, a few at one time for all VMs together. A walk takes a lock of its emulator and one of the
 * daemon's four file system threads, and one through an emulator whose lock is held does not end: so it keeps its place until it ends,
 * but nobody waits for it longer than a moment.
 */

/** Half of the file system threads, so that walks that do not end leave the others to everybody else. */
const mostAtOnce = 2
/** Those that wait for a place; beyond, a walk is left out. */
const mostWaiting = 64
const longestMs = 5_000

export class PageWalks {
  readonly #longestMs: number
  readonly #waiting = new Set<() => void>()
  #walking = 0

  constructor(options: { readonly longestMs?: number } = {}) {
    this.#longestMs = options.longestMs ?? longestMs
  }

  /** What a walk finds; undefined when it did not come to its end in time. */
  run<T>(walk: () => Promise<T>): Promise<T | undefined> {
    if (this.#walking >= mostAtOnce && this.#waiting.size >= mostWaiting) return Promise.resolve(undefined)
    const { promise, resolve, reject } = Promise.withResolvers<T | undefined>()
    const begin = () => {
      this.#waiting.delete(begin)
      this.#walking++
      walk()
        .then(resolve, reject)
        .finally(() => {
          this.#walking--
          this.#next()
        })
    }
    const timer = setTimeout(() => {
      this.#waiting.delete(begin)
      resolve(undefined)
    }, this.#longestMs)
    this.#waiting.add(begin)
    this.#next()
    return promise.finally(() => clearTimeout(timer))
  }

  #next(): void {
    const [first] = this.#waiting
    if (first !== undefined && this.#walking < mostAtOnce) first()
  }
}
