/**
 * The commands of LVM, each a child with a deadline: what they say, what they refuse, and what is remembered of a volume group that
 * hangs or is gone, so that nobody waits for it twice.
 *
 * A command that changes something is not ended with the daemon: LVM leaves devices suspended when it is killed half way. It asks nobody
 * (`-y`), and scans no logical volume for further volume groups, which would be those of guests.
 */
import { KvasirError } from '@kvasir/contract'
import { CommandError, runCommand } from '@kvasir/linux'
import type { SeenLvm } from '../../model/storage/lvm-place.ts'
import {
  groupFields,
  parseGroups,
  parseVolumes,
  rowsIn,
  volumeFields,
} from '../../model/storage/lvm-report.ts'
import { refusalIn } from './lvm-errors.ts'

export interface LvmDeadlines {
  /** What only looks. */
  readonly lookMs: number
  readonly changeMs: number
  /** Overwriting a volume, which may be large. */
  readonly clearMs: number
}

const defaultDeadlines: LvmDeadlines = { lookMs: 30_000, changeMs: 120_000, clearMs: 24 * 3_600_000 }
/** How long a command that was killed may take to end. */
const killMs = 500
/** Between two of these it can be ended. */
const clearStep = '256MiB'
/** ECMD_FAILED (lvm(8), "Exit status"), also of a report that lacks only a part. */
const lvmFailed = 5
const notFound = /Volume group \\?"[^"]*" not found/
/** What a shell ends with. */
const noSuchCommand = 127
const environment = { LVM_SUPPRESS_FD_WARNINGS: '1' }
const config = ['--config', 'devices { scan_lvs=0 }']
const report = ['--reportformat', 'json', '--units', 'b', '--nosuffix']

export interface LvmToolsOptions {
  readonly vg: string
  readonly onUnreachable: (reason: string) => void
  readonly deadlines?: Partial<LvmDeadlines> | undefined
}

/** The commands, about one volume group. */
export class LvmTools {
  readonly #options: LvmToolsOptions
  readonly #deadlines: LvmDeadlines
  #trouble: string | undefined
  /** Commands that were given up and still wait. */
  #stuck = 0

  constructor(options: LvmToolsOptions) {
    this.#options = options
    this.#deadlines = { ...defaultDeadlines, ...options.deadlines }
  }

  /** What was in the way is looked at anew. */
  tryAgain(): void {
    this.#trouble = undefined
  }

  /** What there is; undefined when there is no volume group of the name. */
  async look(): Promise<SeenLvm | undefined> {
    // One report tells of both, but of a group with nothing in it.
    const report = await this.#report('lvs', [...groupFields, ...volumeFields])
    if (report === undefined) return undefined
    const [group] = parseGroups(report, 'lv')
    if (group) return { group, volumes: parseVolumes(report) }
    const groups = await this.#report('vgs', groupFields)
    const [empty] = groups === undefined ? [] : parseGroups(groups, 'vg')
    return empty && { group: empty, volumes: [] }
  }

  /** What there is, for a pool that must be there. */
  async see(): Promise<SeenLvm> {
    return await this.reach(async () => {
      const seen = await this.look()
      if (seen === undefined) throw new VgGone(`there is no volume group ${this.#options.vg}`)
      return seen
    })
  }

  /** Changes something. Throws `CommandError`, or `LvmHung` when it took too long. */
  async change(command: string, ...args: readonly string[]): Promise<void> {
    const { changeMs } = this.#deadlines
    const options = { timeoutMs: changeMs, env: environment }
    await this.#inTime(command, changeMs, () => runCommand([command, ...config, '-y', ...args], options))
  }

  /** Writes zeroes to a device, from a place to its end: by the device itself where it can (BLKZEROOUT). */
  async clear(device: string, from: number): Promise<void> {
    const { clearMs } = this.#deadlines
    const argv = ['blkdiscard', '--zeroout', '--step', clearStep, '--offset', String(from), device]
    await this.#inTime('blkdiscard', clearMs, () =>
      runCommand(argv, { timeoutMs: clearMs, endsWithUs: true }),
    )
  }

  /** What is thrown when something of it does not answer. */
  hung(what: string, timeoutMs: number): Error {
    return new LvmHung(`it did not answer within ${timeoutMs / 1000} s (${what})`)
  }

  /** Does what needs the volume group. What says that it is gone makes the pool unreachable, and later calls fail at once. */
  async reach<T>(work: () => Promise<T>): Promise<T> {
    if (this.#trouble !== undefined) throw this.#unreachable(this.#trouble)
    try {
      return await work()
    } catch (error) {
      const reason = this.#troubleOf(error)
      if (reason === undefined) throw failureOf(error)
      if (this.#trouble === undefined) {
        this.#trouble = reason
        this.#options.onUnreachable(reason)
      }
      throw this.#unreachable(reason, error)
    }
  }

  /**
   * Waits for a command no longer than its deadline: one that waits for a device cannot even be killed (state D). Until it has ended,
   * no other is begun, or a device that hangs would gather them.
   */
  async #inTime<T>(command: string, timeoutMs: number, run: () => Promise<T>): Promise<T> {
    const hung = () => this.hung(command, timeoutMs)
    if (this.#stuck > 0) throw hung()
    const work = run()
    const { promise: late, reject } = Promise.withResolvers<never>()
    const deadline = setTimeout(() => {
      this.#stuck += 1
      work.catch(() => {}).finally(() => (this.#stuck -= 1))
      reject(hung())
    }, timeoutMs + killMs)
    try {
      return await Promise.race([work, late])
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      if (error.failure === 'timeout') throw hung()
      if (error.failure !== 'missing' && error.exitCode !== noSuchCommand) throw error
      throw new KvasirError(
        'host-failed',
        'LVM (the package lvm2) is not installed, so there are no such pools.',
        { cause: error },
      )
    } finally {
      clearTimeout(deadline)
    }
  }

  /** A report; undefined when there is no such volume group. */
  async #report(command: string, fields: readonly string[]): Promise<unknown> {
    const { lookMs } = this.#deadlines
    const argv = [command, ...config, ...report, '-o', fields.join(','), this.#options.vg]
    const options = { timeoutMs: lookMs, env: environment, endsWithUs: true, acceptExitCodes: [0, lvmFailed] }
    const { exitCode, stdout, stderr } = await this.#inTime(command, lookMs, () => runCommand(argv, options))
    // What went wrong is in the report's log, or in stderr where LVM keeps none beside a report (2.03.16, Debian 12).
    const said = stderr.trim() === '' ? stdout : stderr
    if (exitCode !== 0 && notFound.test(said)) return undefined
    const value = readJson(stdout)
    if (value === undefined || (exitCode !== 0 && rowsIn(value) === 0))
      throw new CommandError({ argv, failure: 'exit', exitCode, stderr: said })
    return value
  }

  #troubleOf(error: unknown): string | undefined {
    if (error instanceof LvmHung || error instanceof VgGone) return error.message
    return isVgMissing(error) ? `there is no volume group ${this.#options.vg}` : undefined
  }

  #unreachable(reason: string, cause?: unknown): KvasirError {
    const { vg } = this.#options
    return new KvasirError('pool-unreachable', `Volume group ${vg} cannot be used: ${reason}.`, {
      details: { vg, reason },
      cause,
    })
  }
}

/** What LVM refused, in its words. */
function failureOf(error: unknown): unknown {
  if (!(error instanceof CommandError)) return error
  const said = refusalIn(error) ?? ''
  return new KvasirError('host-failed', `LVM did not do its part: ${said}`, { cause: error })
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isVgMissing(error: unknown): boolean {
  return error instanceof CommandError && notFound.test(error.stderr)
}

/** LVM did not answer in time. */
class LvmHung extends Error {}

/** What the pool is made of is not there, or is not the pool. */
export class VgGone extends Error {}
