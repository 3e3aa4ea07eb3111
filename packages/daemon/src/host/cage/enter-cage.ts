/**
 * Runs the launcher and waits until the program has replaced it: the part that a VM's emulator and a jailed command share.
 *
 * The launcher's status socket carries the name of each step before it is tried and what went wrong. Its end without a complaint means
 * that the program has taken over. Nothing here knows what is run.
 */
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { CageError, type CageStep, cageSteps } from './cage-error.ts'
import { GO, type LauncherParameters, launcherMessage, type PassedDescriptor } from './launcher-script.ts'
import {
  type CageExit,
  type HeldLaunchers,
  killSession,
  type Launcher,
  type Referenced,
  startLauncher,
} from './launchers.ts'

/** When a step of the launch began, in milliseconds after the launch itself: where the time of a start goes. */
export interface StepTime {
  readonly step: CageStep
  readonly atMs: number
}

export interface CageEntry {
  readonly child: Referenced
  readonly pid: number
  readonly steps: readonly StepTime[]
  /** To the keeper of its logs, which waits for its words; where one was wanted. */
  readonly keeper: Socket | undefined
  readonly exited: Promise<CageExit>
}

export interface EntryOptions {
  readonly parameters: LauncherParameters
  /** Whether a keeper of logs is wanted. A launcher that is held has one. */
  readonly keepsLogs: boolean
  /** What the program gets as stdout and stderr where the parameters name no log pipe. */
  readonly output: 'ignore' | 'pipe'
  /** The n-th is descriptor `FIRST_DESCRIPTOR + n` in the cage. */
  readonly descriptors: readonly PassedDescriptor[]
  /**
   * Moves the process into its cgroup and does what the program waits for. It runs beside the first steps; `arrived` resolves when the
   * launcher has taken those, or has ended.
   */
  readonly admit: (pid: number, arrived: Promise<void>) => Promise<void>
  /** Where a launcher may be held ready; without it, one is started. */
  readonly launchers?: Pick<HeldLaunchers, 'take' | 'giveUp'>
  /** Called before anything can have been read: Node throws away output that nobody listens to when a child exits. */
  readonly onSpawn?: (child: ChildProcess) => void
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

const STATUS_LIMIT_BYTES = 16 * 1024

/** Gives a launcher its words; resolves when it runs the program. Throws `CageError`; the launcher is dead then. */
export async function enterCage(options: EntryOptions): Promise<CageEntry> {
  options.signal?.throwIfAborted()
  const deadline = performance.now() + options.timeoutMs
  const held = options.launchers?.take()
  if (held) {
    try {
      return await converse({ launcher: held, taken: options.descriptors, deadline }, options)
    } catch (error) {
      if (!(error instanceof LauncherLost)) throw error
      if (error.isBarred) options.launchers?.giveUp()
    }
  }
  const own = options.descriptors.filter((one) => typeof one === 'number')
  const inherits = own.length === options.descriptors.length
  const { child, launcher, failed } = startLauncher({ ...options, descriptors: inherits ? own : [] })
  options.onSpawn?.(child)
  if (launcher === undefined) {
    throw new CageError('spawn', 'The launcher could not be started, so the program was not run.', {
      cause: await failed,
    })
  }
  return converse({ launcher, taken: inherits ? undefined : options.descriptors, deadline }, options)
}

/** A held launcher ended before it had done anything; another one may do better. */
class LauncherLost extends Error {
  /** It could not take the descriptors, so no other could. */
  readonly isBarred: boolean

  constructor(complaints: string) {
    super(`A launcher that was held ready is gone: ${complaints}`)
    this.isBarred = complaints !== ''
  }
}

interface Conversation {
  readonly launcher: Launcher
  /** The descriptors that it takes; undefined for one that has inherited them. */
  readonly taken: readonly PassedDescriptor[] | undefined
  /** On the clock of `performance.now()`. */
  readonly deadline: number
}

/** As `enterCage`, with one launcher. Throws `LauncherLost` too. */
async function converse(
  { launcher, taken, deadline: deadlineAt }: Conversation,
  options: EntryOptions,
): Promise<CageEntry> {
  const startedAt = performance.now()
  const { child, pid, status, admission, keeper, exited } = launcher
  const kill = () => killSession(pid)
  const deadline = setTimeout(kill, deadlineAt - startedAt)
  options.signal?.addEventListener('abort', kill, { once: true })
  let refusal: unknown
  const arrived = Promise.withResolvers<void>()
  const reported = readStatus(status, {
    startedAt,
    onStep: (step) => step === 'admission' && arrived.resolve(),
  }).finally(arrived.resolve)
  admission.write(launcherMessage(options.parameters, taken ?? []))
  const admitted = options.admit(pid, arrived.promise).then(
    () => admission.end(GO),
    (error: unknown) => {
      refusal = error
      kill()
    },
  )
  try {
    const report = await reported
    await admitted
    const isLate = performance.now() >= deadlineAt
    const isIn = report.steps.at(-1)?.step === 'exec' && report.complaints === ''
    if (isIn && !isLate && !options.signal?.aborted)
      return { child, pid, exited, keeper, steps: report.steps }

    if (isIn) kill() // The word came too late to stop the launcher itself.
    keeper?.destroy()
    const exit = await exited
    options.signal?.throwIfAborted()
    if (taken && !isLate && !report.steps.some(({ step }) => step === 'limits'))
      throw new LauncherLost(report.complaints)
    // What the launcher says comes first: a refusal may be no more than its echo.
    if (refusal !== undefined && report.complaints === '' && exit.code === undefined && !isLate) throw refusal
    throw stoppedAt(report, isLate ? 'its deadline has passed' : describeExit(exit))
  } finally {
    clearTimeout(deadline)
    options.signal?.removeEventListener('abort', kill)
  }
}

function stoppedAt(report: StatusReport, how: string): CageError {
  const step = report.steps.at(-1)?.step ?? 'namespaces'
  const reason = report.complaints || 'no reason was given'
  return new CageError(
    step,
    `The cage could not be closed at its step "${step}" (${how}), so the program was not run: ${reason}`,
    { stderr: report.complaints },
  )
}

/** How a program ended, for a sentence. */
export function describeExit(exit: CageExit): string {
  return exit.signal ?? `exit code ${exit.code}`
}

interface StatusReport {
  readonly steps: readonly StepTime[]
  readonly complaints: string
}

function readStatus(
  status: Duplex,
  { startedAt, onStep }: { readonly startedAt: number; readonly onStep: (step: CageStep) => void },
): Promise<StatusReport> {
  const steps: StepTime[] = []
  const complaints: string[] = []
  let bytes = 0
  let rest = ''
  const takeLine = (line: string) => {
    const step = cageSteps.find((name) => line === `@step ${name}`)
    if (step !== undefined) {
      steps.push({ step, atMs: performance.now() - startedAt })
      onStep(step)
    } else if (line.trim() !== '') complaints.push(line.trim())
  }
  return new Promise((resolve) => {
    status.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > STATUS_LIMIT_BYTES) return
      const lines = (rest + chunk.toString('utf8')).split('\n')
      rest = lines.pop() ?? ''
      lines.forEach(takeLine)
    })
    status.on('error', () => {}) // The launcher has ended; `close` follows.
    status.once('close', () => {
      takeLine(rest)
      resolve({ steps, complaints: complaints.join('; ') })
    })
  })
}
