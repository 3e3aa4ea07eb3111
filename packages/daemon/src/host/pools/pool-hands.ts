/**
 * The hands of a folder pool: processes (pool-hands.pl) that touch its files, so that one that hangs can be killed and the daemon's own
 * threads never wait (design decisions 8 and 13). An order that is not answered in time ends its process and throws `PoolHung`.
 *
 * One process does one order after another; orders of several callers get a process each, up to a bound, and one that idles ends.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { KvasirError } from '@kvasir/contract'

const perl = '/usr/bin/perl'
const program = join(import.meta.dirname, 'pool-hands.pl')

/** Processes of one pool at one time. */
const mostAtOnce = 16
const idleMs = 10_000
/** Names of 100,000 files of 255 bytes, and some. */
const mostAnswerBytes = 64 * 2 ** 20

/** The file system of a pool did not answer in time. */
export class PoolHung extends Error {
  constructor(order: string, timeoutMs: number) {
    super(`it did not answer within ${timeoutMs / 1000} s (${order})`)
  }
}

/** An order that was refused: by the kernel with an `errno`, or since the folder cannot be opened or is not what it should be. */
export class HandsError extends Error {
  readonly kind: 'errno' | 'folder' | 'mark' | 'marked' | 'owner'
  readonly words: readonly string[]

  constructor(kind: HandsError['kind'], words: readonly string[]) {
    super(kind === 'errno' || kind === 'folder' ? (words[1] ?? '') : `${kind} ${words.join(' ')}`)
    this.kind = kind
    this.words = words
  }

  /** The number of the kernel's error. */
  get errno(): number | undefined {
    return this.kind === 'errno' ? Number(this.words[0]) : undefined
  }
}

export interface Order {
  readonly words: readonly [order: string, ...(string | number)[]]
  readonly timeoutMs: number
}

/** One process. */
export class Hands {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  #received: Buffer = Buffer.alloc(0)
  #waiting: ((outcome: Buffer | Error) => void) | undefined
  #ended: Error | undefined

  constructor(folder: { readonly path: string; readonly mark: string }) {
    this.#child = spawn(perl, [program, process.arch, String(process.pid), folder.path, folder.mark], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.#child.stdin.on('error', () => {}) // It has ended; `exit` says so.
    this.#child.stdout.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#child.once('error', (error) => this.#end(error))
    this.#child.once('exit', () => this.#end(new Error('The process that touches the pool has ended.')))
  }

  get isUsable(): boolean {
    return this.#ended === undefined
  }

  /** The number of the process. */
  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Carries out one order and answers its words. Throws `PoolHung`, upon which the process is no more, or `HandsError`. */
  async order({ words, timeoutMs }: Order): Promise<Buffer> {
    if (this.#ended) throw this.#ended
    const text = Buffer.from(words.map(String).join('\0'))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(text.length)
    const { promise, resolve } = Promise.withResolvers<Buffer | Error>()
    this.#waiting = resolve
    const deadline = setTimeout(() => {
      this.#end(new PoolHung(words[0], timeoutMs))
      this.kill()
    }, timeoutMs)
    this.#child.stdin.write(Buffer.concat([length, text]))
    const outcome = await promise
    clearTimeout(deadline)
    if (outcome instanceof Error) throw outcome
    return readAnswer(outcome)
  }

  /** Whether this process stays for the child's sake. */
  setReferenced(isReferenced: boolean): void {
    for (const one of [this.#child, this.#child.stdin, this.#child.stdout]) {
      if (!('ref' in one) || !(one instanceof Socket || one === this.#child)) continue
      if (isReferenced) one.ref()
      else one.unref()
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL')
    this.#child.stdin.destroy()
    this.#child.stdout.destroy()
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    if (this.#received.length < 4) return
    const length = this.#received.readUInt32BE(0)
    if (length > mostAnswerBytes) {
      this.kill()
      return
    }
    if (this.#received.length < 4 + length) return
    const answer = this.#received.subarray(4, 4 + length)
    this.#received = Buffer.alloc(0)
    this.#settle(answer)
  }

  #end(error: Error): void {
    this.#ended ??= error
    this.#settle(this.#ended)
  }

  #settle(outcome: Buffer | Error): void {
    const resolve = this.#waiting
    this.#waiting = undefined
    resolve?.(outcome)
  }
}

function readAnswer(answer: Buffer): Buffer {
  const end = answer.indexOf(0)
  const kind = answer.subarray(0, end === -1 ? undefined : end).toString()
  const rest = end === -1 ? Buffer.alloc(0) : answer.subarray(end + 1)
  if (kind === 'ok') return rest
  const words = rest.toString().split('\0')
  if (kind === 'mark' || kind === 'marked' || kind === 'owner' || kind === 'folder')
    throw new HandsError(kind, words)
  throw new HandsError('errno', words)
}

/** The processes of one pool. */
export class PoolHands {
  readonly #folder: { readonly path: string; readonly mark: string }
  readonly #idle: { readonly hands: Hands; readonly timer: NodeJS.Timeout }[] = []
  #busy = 0

  constructor(folder: { readonly path: string; readonly mark: string }) {
    this.#folder = folder
  }

  /** Lends a process for some orders. `too-many-requests` when all are lent. */
  async lend<T>(work: (hands: Hands) => Promise<T>): Promise<T> {
    const hands = this.#take()
    this.#busy++
    try {
      return await work(hands)
    } finally {
      this.#busy--
      this.#giveBack(hands)
    }
  }

  /** Carries out one order; its answer as words. */
  async words(order: Order): Promise<readonly string[]> {
    const answer = await this.lend((hands) => hands.order(order))
    return answer.length === 0 ? [] : answer.toString().split('\0')
  }

  close(): void {
    for (const { hands, timer } of this.#idle.splice(0)) {
      clearTimeout(timer)
      hands.kill()
    }
  }

  #take(): Hands {
    for (let one = this.#idle.pop(); one; one = this.#idle.pop()) {
      clearTimeout(one.timer)
      if (!one.hands.isUsable) continue
      one.hands.setReferenced(true)
      return one.hands
    }
    if (this.#busy >= mostAtOnce)
      throw new KvasirError(
        'too-many-requests',
        `${this.#busy} requests wait for the pool at ${this.#folder.path}, so this one is refused.`,
      )
    return new Hands(this.#folder)
  }

  #giveBack(hands: Hands): void {
    if (!hands.isUsable) return
    hands.setReferenced(false)
    const timer = setTimeout(() => {
      const at = this.#idle.findIndex((one) => one.hands === hands)
      if (at !== -1) this.#idle.splice(at, 1)
      hands.kill()
    }, idleMs).unref()
    this.#idle.push({ hands, timer })
  }
}
