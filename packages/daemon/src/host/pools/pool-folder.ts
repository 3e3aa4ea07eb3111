/**
 * The folder of a pool as far as it is there: orders to its files, and what is remembered of a folder that hangs or is gone, so that
 * nobody waits for it twice.
 */
import { formatBytes, KvasirError } from '@kvasir/contract'
import { troubleOf } from './hands-errors.ts'
import { HandsError, type Order, PoolHands } from './pool-hands.ts'

export interface PoolFolderOptions {
  readonly path: string
  /** What the folder must say that it is; empty for the daemon's own, which lies beside the store and needs no mark. */
  readonly mark: string
  /** Space that no volume may take. */
  readonly reservedBytes: number
  readonly onUnreachable: (reason: string) => void
  readonly deadlines?: Partial<Deadlines>
}

interface Deadlines {
  /** What any file system that is well does at once. */
  readonly quickMs: number
  /** What may have to wait for a disk that is busy. */
  readonly syncMs: number
  /** Taking all the space of a volume. */
  readonly allocateMs: number
}

/** ENOENT. */
export const noSuchFile = 2

const defaultDeadlines: Deadlines = { quickMs: 5_000, syncMs: 60_000, allocateMs: 3_600_000 }

/** One folder. */
export class PoolFolder {
  readonly deadlines: Deadlines
  readonly #options: PoolFolderOptions
  readonly #hands: PoolHands
  #trouble: string | undefined

  constructor(options: PoolFolderOptions) {
    this.#options = options
    this.deadlines = { ...defaultDeadlines, ...options.deadlines }
    this.#hands = new PoolHands({ path: options.path, mark: options.mark })
  }

  /** What was in the way is looked at anew. */
  tryAgain(): void {
    this.#trouble = undefined
  }

  close(): void {
    this.#hands.close()
  }

  /** Waits until a file, its name included, is on the disk. */
  async sync(file: string): Promise<void> {
    await this.reach(() => this.words({ words: ['sync', file], timeoutMs: this.deadlines.syncMs }))
  }

  /** An order that any file system that is well carries out at once. */
  quick(words: Order['words']): Promise<readonly string[]> {
    return this.words({ words, timeoutMs: this.deadlines.quickMs })
  }

  words(order: Order): Promise<readonly string[]> {
    return this.#hands.words(order)
  }

  /** The first bytes of a file. One that cannot be read says nothing of the folder: `file-not-found`. */
  async read(file: string, lengthBytes: number): Promise<Uint8Array> {
    const order: Order = { words: ['read', file, 0, lengthBytes], timeoutMs: this.deadlines.quickMs }
    return await this.reach(async () => {
      try {
        return await this.#hands.lend((hands) => hands.order(order))
      } catch (cause) {
        if (!(cause instanceof HandsError) || cause.kind !== 'errno') throw cause
        throw new KvasirError(
          'file-not-found',
          `The file ${file} cannot be read (${cause.message}), so nobody knows what it is.`,
          { cause },
        )
      }
    })
  }

  /** Makes a file root's alone; whose it was, and its mode, are told before. */
  async take(file: string, note: (before: readonly string[]) => void): Promise<void> {
    note(await this.reach(() => this.quick(['owner', file])))
    await this.reach(() => this.quick(['permit', file, 0, 0o600, 0]))
  }

  /** Gives a file that is still there back to whose it was. */
  async giveBack(file: string, before: readonly string[]): Promise<void> {
    try {
      await this.reach(() => this.quick(['restore', file, ...before]))
    } catch (error) {
      if (!(error instanceof HandsError && error.errno === noSuchFile)) throw error
    }
  }

  /** Does what needs the folder. What says that the folder is gone makes the pool unreachable, and later calls fail at once. */
  async reach<T>(work: () => Promise<T>): Promise<T> {
    if (this.#trouble !== undefined) throw this.#unreachable(this.#trouble)
    try {
      return await work()
    } catch (error) {
      const reason = troubleOf(error)
      if (reason === undefined) throw error
      if (this.#trouble === undefined) {
        this.#trouble = reason
        this.#hands.close()
        this.#options.onUnreachable(reason)
      }
      throw this.#unreachable(reason, error)
    }
  }

  #unreachable(reason: string, cause?: unknown): KvasirError {
    return new KvasirError(
      'pool-unreachable',
      `The pool at ${this.#options.path} cannot be used: ${reason}.`,
      {
        details: { path: this.#options.path, reason },
        cause,
      },
    )
  }

  /** Refuses what does not fit beside the reserve; answers what may be taken. */
  async requireRoom(bytes: number): Promise<number> {
    const [, , available] = await this.reach(() => this.quick(['space']))
    const availableBytes = Number(available)
    const { reservedBytes } = this.#options
    if (availableBytes >= bytes + reservedBytes) return availableBytes - reservedBytes
    throw new KvasirError(
      'not-enough-space',
      `The disk of ${this.#options.path} has ${formatBytes(availableBytes)} free, of which ${formatBytes(reservedBytes)} are kept back, so ` +
        `there is no room for ${formatBytes(bytes)} more.`,
      { details: { freeBytes: availableBytes, neededBytes: bytes, reservedBytes } },
    )
  }
}
