/**
 * Runs the launcher and waits until the program has replaced it: the part that a VM's emulator and a jailed command share.
 *
 * The launcher's status socket carries the name of each step before it is tried and what went wrong. Its end without a complaint means
 * that the program has taken over. Nothing here knows what is run.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { Duplex } from 'node:stream'
import { CageError, type CageStep, cageSteps } from './cage-error.ts'
import {
  ADMISSION_DESCRIPTOR,
  FIRST_DESCRIPTOR,
  type LauncherParameters,
  launcherArgv,
  STATUS_DESCRIPTOR,
} from './launcher-script.ts'

/** How a caged program ended; both undefined when it could never be started. */
export interface CageExit {
  readonly code: number | undefined
  readonly signal: string | undefined
}

/** When a step of the launch began, in milliseconds after the launch itself: where the time of a start goes. */
export interface StepTime {
  readonly step: CageStep
  readonly atMs: number
}

export interface CageEntry {
  readonly child: ChildProcess
  readonly pid: number
  readonly steps: readonly StepTime[]
  readonly exited: Promise<CageExit>
}

export interface EntryOptions {
  readonly parameters: LauncherParameters
  /** What the program gets as stdout and stderr where the parameters name no log pipe. */
  readonly output: 'ignore' | 'pipe'
  /** Our descriptors; the n-th is descriptor `FIRST_DESCRIPTOR + n` in the cage. */
  readonly descriptors: readonly number[]
  /**
   * Moves the process into its cgroup and does what the program waits for. It runs beside the first steps; `arrived` resolves when the
   * launcher has taken those, or has ended.
   */
  readonly admit: (pid: number, arrived: Promise<void>) => Promise<void>
  /** Called before anything can have been read: Node throws away output that nobody listens to when a child exits. */
  readonly onSpawn?: (child: ChildProcess) => void
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

const STATUS_LIMIT_BYTES = 16 * 1024

/** Starts the launcher; resolves when it runs the program. Throws `CageError`; the launcher is dead then. */
export async function enterCage(options: EntryOptions): Promise<CageEntry> {
  options.signal?.throwIfAborted()
  const startedAt = performance.now()
  const [launcher, ...args] = launcherArgv(options.parameters)
  const child = spawn(launcher, args, {
    detached: true,
    cwd: '/',
    env: {},
    stdio: [...standardDescriptors(options.output), ...options.descriptors],
  })
  options.onSpawn?.(child)
  const exited = exitOf(child)
  const { [STATUS_DESCRIPTOR]: status, [ADMISSION_DESCRIPTOR]: admission }: readonly unknown[] = child.stdio
  if (child.pid === undefined || !(status instanceof Duplex) || !(admission instanceof Duplex)) {
    throw new CageError('spawn', 'The launcher could not be started, so the program was not run.', {
      cause: await failureOf(child),
    })
  }
  admission.on('error', () => {}) // The launcher has ended; the status says at which step.

  const entry = { child, pid: child.pid, exited }
  const kill = () => killSession(entry.pid)
  const deadline = setTimeout(kill, options.timeoutMs)
  options.signal?.addEventListener('abort', kill, { once: true })
  let refusal: unknown
  const arrived = Promise.withResolvers<void>()
  const reported = readStatus(status, {
    startedAt,
    onStep: (step) => step === 'admission' && arrived.resolve(),
  }).finally(arrived.resolve)
  const admitted = options.admit(entry.pid, arrived.promise).then(
    () => admission.end('go\n'),
    (error: unknown) => {
      refusal = error
      kill()
    },
  )
  try {
    const report = await reported
    await admitted
    const isLate = performance.now() - startedAt >= options.timeoutMs
    const isIn = report.steps.at(-1)?.step === 'exec' && report.complaints === ''
    if (isIn && !isLate && !options.signal?.aborted) return { ...entry, steps: report.steps }

    if (isIn) kill() // The word came too late to stop the launcher itself.
    const exit = await exited
    options.signal?.throwIfAborted()
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

/** Descriptors 0 to 9 of the launcher. `ignore` above descriptor 2 leaves the descriptor closed. */
function standardDescriptors(output: 'ignore' | 'pipe'): ('ignore' | 'pipe')[] {
  const stdio: ('ignore' | 'pipe')[] = Array.from({ length: FIRST_DESCRIPTOR }, () => 'ignore')
  stdio[1] = output
  stdio[2] = output
  stdio[STATUS_DESCRIPTOR] = 'pipe'
  stdio[ADMISSION_DESCRIPTOR] = 'pipe'
  return stdio
}

/** How a program ended, for a sentence. */
export function describeExit(exit: CageExit): string {
  return exit.signal ?? `exit code ${exit.code}`
}

/** Kills a launcher and what it has started; what has left its session is reached through its cgroup. */
export function killSession(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
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

function exitOf(child: ChildProcess): Promise<CageExit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }))
    child.once('error', () => resolve({ code: undefined, signal: undefined }))
  })
}

function failureOf(child: ChildProcess): Promise<Error> {
  return new Promise((resolve) => {
    child.once('error', resolve)
  })
}
