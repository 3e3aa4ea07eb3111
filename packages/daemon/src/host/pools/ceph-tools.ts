/**
 * The commands of Ceph, each a child with a deadline: what they say, what they refuse, and what is remembered of a cluster that does not
 * answer, so that nobody waits for it twice.
 *
 * They get the monitors and the key as files of mode 0600 in the runtime directory, never as arguments. They give up by themselves where
 * nobody answers; one that does not is killed.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { CommandError, type CommandOptions, runCommand, runJsonCommand } from '@kvasir/linux'
import { type CephPlace, cephConf, isCephKey, placeWords } from '../../model/storage/ceph-place.ts'
import type { SecretValues } from '../files/secret-files.ts'

export interface CephDeadlines {
  /** What only looks; more than what the tools wait for an answer by themselves. */
  readonly lookMs: number
  /** What changes something: removing a large image takes a request for each of its objects. */
  readonly changeMs: number
}

const defaultDeadlines: CephDeadlines = { lookMs: 8_000, changeMs: 3_600_000 }
/** How much earlier than they are killed the tools give up by themselves. */
const graceMs = 3_000
/** What a shell ends with. */
const noSuchCommand = 127

/** Numbers of errors, with which the tools of Ceph end (errno.h). */
export const cephErrors = {
  notPermitted: 1,
  missing: 2,
  denied: 13,
  busy: 16,
  exists: 17,
  invalid: 22,
  noSpace: 28,
  notEmpty: 39,
  quota: 122,
} as const
const timedOut = 110
const noHost = 113

export interface CephToolsOptions {
  readonly place: CephPlace
  /** A directory of its own, which only root may enter; made when it is missing. */
  readonly directory: string
  readonly secrets: SecretValues
  readonly onUnreachable: (reason: string) => void
  readonly deadlines?: Partial<CephDeadlines> | undefined
}

/** The files that a client of Ceph gets. */
export interface CephLogin {
  readonly conf: string
  readonly keyring: string
}

/** The commands, for one Ceph pool. */
export class CephTools {
  readonly #options: CephToolsOptions
  readonly #deadlines: CephDeadlines
  #login: Promise<CephLogin> | undefined
  #trouble: string | undefined

  constructor(options: CephToolsOptions) {
    this.#options = options
    this.#deadlines = { ...defaultDeadlines, ...options.deadlines }
  }

  /** How long what only looks may take, in milliseconds. */
  get deadlineMs(): number {
    return this.#deadlines.lookMs
  }

  /** The files for a client of its own, which are there until they are forgotten. */
  async login(): Promise<CephLogin> {
    this.#login ??= this.#writeLogin()
    return await this.#login
  }

  /** What was in the way is looked at anew. */
  tryAgain(): void {
    this.#trouble = undefined
    this.#login = undefined
  }

  /** Asks for a report in JSON. `CommandError` for what is not there. */
  async ask(program: 'ceph' | 'rbd', ...args: readonly string[]): Promise<unknown> {
    return await this.#run(program, async (login) =>
      runJsonCommand([program, ...login, ...args, '--format', 'json'], {
        timeoutMs: this.#deadlines.lookMs,
        endsWithUs: true,
      }),
    )
  }

  /** Asks for what an object holds. */
  async look(program: 'rados', ...args: readonly string[]): Promise<string> {
    return await this.change(program, args, { timeoutMs: this.#deadlines.lookMs })
  }

  /** Changes something. `CommandError` for what is refused. */
  async change(
    program: 'rados' | 'rbd',
    args: readonly string[],
    options: Partial<CommandOptions> = {},
  ): Promise<string> {
    const limits = { timeoutMs: this.#deadlines.changeMs, endsWithUs: true, ...options }
    return await this.#run(
      program,
      async (login) => (await runCommand([program, ...login, ...args], limits)).stdout,
    )
  }

  /** Does what needs the cluster. What says that it does not answer makes the pool unreachable, and later calls fail at once. */
  async reach<T>(work: () => Promise<T>): Promise<T> {
    if (this.#trouble !== undefined) throw this.#unreachable(this.#trouble)
    try {
      return await work()
    } catch (error) {
      const reason = this.#troubleOf(error)
      if (reason === undefined) throw error
      if (this.#trouble === undefined) {
        this.#trouble = reason
        this.#options.onUnreachable(reason)
      }
      throw this.#unreachable(reason, error)
    }
  }

  /** Removes the files that the commands get. */
  async forgetLogin(): Promise<void> {
    this.#login = undefined
    await rm(this.#options.directory, { recursive: true, force: true })
  }

  async #run<T>(program: string, work: (login: readonly string[]) => Promise<T>): Promise<T> {
    try {
      const { conf, keyring } = await this.login()
      return await work(['--conf', conf, '--id', this.#options.place.user, '--keyring', keyring])
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      if (error.failure !== 'missing' && error.exitCode !== noSuchCommand) throw error
      throw new KvasirError(
        'host-failed',
        `The command ${program} (the package ceph-common) is not installed, so there are no such pools.`,
        { cause: error },
      )
    }
  }

  async #writeLogin(): Promise<CephLogin> {
    const { place, directory, secrets } = this.#options
    const [conf, keyring] = [join(directory, 'ceph.conf'), join(directory, 'keyring')]
    const seconds = Math.max(1, Math.floor((this.#deadlines.lookMs - graceMs) / 1000))
    const key =
      place.secretId === undefined ? '' : (await secrets.read(place.secretId)).toString('utf8').trim()
    if (place.secretId !== undefined && !isCephKey(key))
      throw new KvasirError(
        'pool-refused',
        `The secret for Ceph pool ${placeWords(place)} is no cephx key as \`ceph auth print-key\` shows it, so it opens nothing.`,
      )
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await replaceFile(conf, cephConf(place, { keyring }, seconds))
    await replaceFile(keyring, key === '' ? '' : `[client.${place.user}]\n\tkey = ${key}\n`)
    return { conf, keyring }
  }

  #troubleOf(error: unknown): string | undefined {
    if (error instanceof CephGone) return error.message
    const { place } = this.#options
    if (error instanceof CommandError && error.failure === 'timeout')
      return `it did not answer within ${this.#deadlines.lookMs / 1000} s`
    const code = cephErrorOf(error)
    if (code === cephErrors.notPermitted || code === cephErrors.denied)
      return `the cluster refuses user ${place.user} with the key it was given`
    if (code === timedOut || code === noHost) return 'its monitors or OSDs do not answer'
    return undefined
  }

  #unreachable(reason: string, cause?: unknown): KvasirError {
    const place = placeWords(this.#options.place)
    return new KvasirError('pool-unreachable', `Ceph pool ${place} cannot be used: ${reason}.`, {
      details: { place, reason },
      cause,
    })
  }
}

/** Commands that run read the files meanwhile: one that found half a key would say that the cluster refuses it. */
async function replaceFile(path: string, text: string): Promise<void> {
  const next = `${path}.${randomBytes(4).toString('hex')}`
  try {
    await writeFile(next, text, { mode: 0o600 })
    await rename(next, path)
  } catch (error) {
    await rm(next, { force: true })
    throw error
  }
}

/** What the pool is made of is not there, or is not the pool. */
export class CephGone extends Error {}

/** A client of ours, not a command, was refused something. */
export class CephRefused extends Error {
  /** Of errno.h; undefined where it did not say. */
  readonly number: number | undefined

  constructor(number: number | undefined, words: string) {
    super(words)
    this.number = number
  }
}

/** The number of the error that a command ended with; `rados` ends with 1 and names it, as in `(2) No such file or directory`. */
export function cephErrorOf(error: unknown): number | undefined {
  if (error instanceof KvasirError && error.code === 'host-failed') return cephErrorOf(error.cause)
  if (error instanceof CephRefused) return error.number
  if (!(error instanceof CommandError) || error.failure !== 'exit') return undefined
  const named = /\((\d{1,3})\) [A-Z]/.exec(error.stderr)?.[1]
  return error.exitCode === 1 && named !== undefined ? Number(named) : error.exitCode
}

/** What a command of Ceph said of something that it did not do. */
export function cephWords(error: unknown): string {
  if (!(error instanceof CommandError)) return error instanceof Error ? error.message : String(error)
  const lines = error.stderr.split('\n').map((line) => line.trim())
  return lines
    .filter((line) => line !== '')
    .slice(-2)
    .join(' ')
    .slice(0, 300)
}
