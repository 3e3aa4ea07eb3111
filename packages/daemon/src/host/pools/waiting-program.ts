/**
 * A program that was started before a moment, says `ready`, and does its part when it is told `take`: whoever waits for the moment waits
 * for nothing else. It answers in lines, `error NUMBER WORDS` for what went wrong, and ends when its input does.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { COMMAND_PATH } from '@kvasir/linux'

/** How a program is run, and what it means that it does not answer, or refuses. */
export interface WaitingOptions {
  readonly argv: readonly string[]
  readonly deadlineMs: number
  readonly hung: () => Error
  /** With the number of an error, where there is one. */
  readonly refused: (number: number | undefined, words: string) => Error
}

/** The process. */
export class WaitingProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: Interface
  readonly #options: WaitingOptions
  readonly #said: AsyncIterator<string>
  readonly #ended: Promise<void>

  constructor(options: WaitingOptions) {
    const [command = '', ...args] = options.argv
    this.#options = options
    this.#child = spawn(command, args, {
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

  /** Tells it that the moment has come, and waits for its answer. */
  async order(answer: string): Promise<void> {
    this.#child.stdin.write('take\n')
    await this.expect(answer)
  }

  /** Waits for an answer. */
  async expect(answer: string): Promise<void> {
    const { deadlineMs, hung, refused } = this.#options
    const { promise: late, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(resolve, deadlineMs, undefined)
    const next = await Promise.race([this.#said.next(), late]).finally(() => clearTimeout(timer))
    if (next === undefined) throw hung()
    if (next.done) throw refused(undefined, 'the program that takes snapshots has ended')
    if (next.value === answer) return
    const [, number, words] = /^error (\d+) (.*)$/.exec(next.value) ?? []
    throw refused(number === undefined ? undefined : Number(number), words ?? next.value)
  }

  /** Lets it end by itself, and kills it when it does not. */
  async end(): Promise<void> {
    this.#child.stdin.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#options.deadlineMs)
    await this.#ended.finally(() => clearTimeout(timer))
    this.#lines.close()
  }
}
