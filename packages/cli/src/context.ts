/** What a command works with: the command line, the daemon, the output, and the signal that Ctrl-C aborts. */
import { type Client, createClient, urlOfEnvironment } from '@kvasir/sdk'
import type { Noun } from './nouns.ts'
import type { Output } from './output/output.ts'
import type { CommandLine } from './parse-command-line.ts'
import { UsageError } from './usage-error.ts'

/** The surroundings of a command. */
export class Context {
  readonly output: Output
  readonly signal: AbortSignal
  readonly environment: NodeJS.ProcessEnv
  /** Every command there is, for completion. */
  readonly nouns: Readonly<Record<string, Noun>>
  readonly #line: CommandLine
  #client: Client | undefined

  constructor(parts: {
    readonly line: CommandLine
    readonly output: Output
    readonly signal: AbortSignal
    readonly environment: NodeJS.ProcessEnv
    readonly nouns: Readonly<Record<string, Noun>>
  }) {
    this.#line = parts.line
    this.output = parts.output
    this.signal = parts.signal
    this.environment = parts.environment
    this.nouns = parts.nouns
  }

  /** The daemon; connected to at the first call. */
  get client(): Client {
    this.#client ??= createClient({
      url: this.value('url') ?? urlOfEnvironment(this.environment),
      token: this.environment['KVASIR_TOKEN'],
    })
    return this.#client
  }

  /** A required argument. */
  argument(name: string): string {
    const value = this.#line.arguments.get(name)
    if (value === undefined) throw new UsageError(`${name} is missing.`, 'See: kvasir --help')
    return value
  }

  /** An optional argument. */
  optional(name: string): string | undefined {
    return this.#line.arguments.get(name)
  }

  /** All that the last argument took. */
  get rest(): readonly string[] {
    return this.#line.rest
  }

  /** Whether a switch is set, or a flag given. */
  has(flag: string): boolean {
    return this.#line.flags.has(flag)
  }

  /** The value of a flag. */
  value(flag: string): string | undefined {
    return this.#line.flags.get(flag)?.at(-1)
  }

  /** Every value of a flag that may be repeated. */
  values(flag: string): readonly string[] {
    return this.#line.flags.get(flag) ?? []
  }

  /** The value of a flag as a whole number. */
  number(flag: string): number | undefined {
    const text = this.value(flag)
    if (text === undefined) return undefined
    if (!/^\d{1,15}$/.test(text)) {
      throw new UsageError(
        `--${flag} is not a whole number: ${JSON.stringify(text)}.`,
        `Write --${flag} 4, for example.`,
      )
    }
    return Number(text)
  }

  /** The value of a flag that takes one of a few words. */
  choice<const Word extends string>(flag: string, words: readonly Word[]): Word | undefined {
    const text = this.value(flag)
    if (text === undefined) return undefined
    const word = words.find((candidate) => candidate === text)
    if (word === undefined) {
      throw new UsageError(
        `--${flag} cannot be ${JSON.stringify(text)}.`,
        `Write one of: ${words.join(', ')}.`,
      )
    }
    return word
  }
}
