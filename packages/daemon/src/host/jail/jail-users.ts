/**
 * The users that jailed tools run as. No two tools that run have the same, because processes of one user may take each other over
 * (ptrace(2)); all have the same group, to which files are opened (file-access.ts).
 *
 * Who wants one waits for its turn. A user that may still own a process is never given out again.
 */
import { KvasirError } from '@kvasir/contract'

/** A user for one run. */
export interface JailUser {
  readonly uid: number
  readonly gid: number
}

export interface UidRange {
  readonly first: number
  readonly count: number
}

/** So many tools run at once. */
const maxUsers = 8
/** So many wait at most; another is refused. */
const maxWaiting = 256

/** Divides the daemon's uids: the last few, at most an eighth, are for jailed tools. */
export function divideUids(range: UidRange): { readonly vms: UidRange; readonly jails: UidRange } {
  const jails = Math.max(1, Math.min(maxUsers, Math.floor(range.count / 8)))
  const vms = { first: range.first, count: range.count - jails }
  return { vms, jails: { first: range.first + vms.count, count: jails } }
}

/** Gives each user to one run at a time. */
export class JailUsers {
  readonly gid: number
  readonly #free: number[]
  readonly #waiting: ((uid: number) => void)[] = []

  constructor(range: UidRange) {
    this.gid = range.first
    this.#free = Array.from({ length: range.count }, (_, index) => range.first + index)
  }

  /** Waits for a user that nobody has. Throws `busy` when too many wait, and what the signal says. */
  async take(signal: AbortSignal): Promise<JailUser> {
    signal.throwIfAborted()
    const uid = this.#free.shift() ?? (await this.#wait(signal))
    return { uid, gid: this.gid }
  }

  /** For a user of whom no process lives. */
  giveBack({ uid }: JailUser): void {
    const next = this.#waiting.shift()
    if (next) next(uid)
    else this.#free.push(uid)
  }

  #wait(signal: AbortSignal): Promise<number> {
    if (this.#waiting.length >= maxWaiting)
      throw new KvasirError(
        'busy',
        `${maxWaiting} tools wait for their turn already, so this one was not run.`,
      )
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const onAbort = () => {
      this.#waiting.splice(this.#waiting.indexOf(onTurn), 1)
      reject(signal.reason)
    }
    const onTurn = (uid: number) => {
      signal.removeEventListener('abort', onAbort)
      resolve(uid)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#waiting.push(onTurn)
    return promise
  }
}
