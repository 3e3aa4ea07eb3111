/**
 * Snapshots of several RBD images at one moment, by a process that has opened them before (rbd-moment.py): what the moment takes is then
 * what Ceph takes for it, some 50 ms, during which librbd holds back the writes of whoever has an image open.
 *
 * Not here: which images, and what is made of the snapshots (rbd-images.ts).
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { COMMAND_PATH } from '@kvasir/linux'
import type { CephPlace } from '../../model/storage/ceph-place.ts'
import type { Moment } from '../../ports/pools.ts'
import { CephGone, CephRefused, type CephTools } from './ceph-tools.ts'

const program = join(import.meta.dirname, 'rbd-moment.py')

/** An image, and the name of the snapshot that is to be taken of it. */
export interface WantedSnapshot {
  readonly image: string
  readonly snapshot: string
}

/** Opens images, so that a snapshot of each can be taken at one moment. `CephRefused`, `pool-unreachable`. */
export async function openMoment(
  tools: CephTools,
  where: CephPlace,
  wanted: readonly WantedSnapshot[],
): Promise<Moment> {
  return await tools.reach(async () => {
    const { conf, keyring } = await tools.login()
    const images = wanted.flatMap(({ image, snapshot }) => [image, snapshot])
    const args = [program, conf, keyring, where.user, where.cephPool, where.namespace ?? '', ...images]
    const waiting = new WaitingProgram(args, tools.deadlineMs)
    try {
      await waiting.expect('ready')
    } catch (error) {
      await waiting.end()
      throw error
    }
    return {
      take: () => tools.reach(() => waiting.order('taken')),
      [Symbol.asyncDispose]: () => waiting.end(),
    }
  })
}

/** The process, which ends with us. */
class WaitingProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: Interface
  readonly #deadlineMs: number
  readonly #said: AsyncIterator<string>
  readonly #ended: Promise<void>

  constructor(args: readonly string[], deadlineMs: number) {
    this.#deadlineMs = deadlineMs
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'python3', '-I', ...args], {
      cwd: '/',
      env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.#child.on('error', () => {}) // Its output ends then, which is what is waited for.
    this.#child.stdin.on('error', () => {})
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()))
    this.#lines = createInterface({ input: this.#child.stdout })
    this.#said = this.#lines[Symbol.asyncIterator]()
  }

  async order(answer: string): Promise<void> {
    this.#child.stdin.write('take\n')
    await this.expect(answer)
  }

  /** Waits for an answer. */
  async expect(answer: string): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(resolve, this.#deadlineMs, undefined)
    const next = await Promise.race([this.#said.next(), late]).finally(() => clearTimeout(timer))
    if (next === undefined) {
      throw new CephGone(`it did not answer within ${this.#deadlineMs / 1000} s`)
    }
    if (next.done)
      throw new CephRefused(undefined, 'the program that takes snapshots (python3-rbd) has ended')
    if (next.value === answer) return
    const [, number, words] = /^error (\d+) (.*)$/.exec(next.value) ?? []
    throw new CephRefused(number === undefined ? undefined : Number(number), words ?? next.value)
  }

  /** Lets it close the images. One that is killed counts as having them open for 30 s more, and whoever changes them waits for it. */
  async end(): Promise<void> {
    this.#child.stdin.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#deadlineMs)
    await this.#ended.finally(() => clearTimeout(timer))
    this.#lines.close()
  }
}
