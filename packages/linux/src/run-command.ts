/**
 * The one way to run an external command.
 *
 * Argv array, no shell; a deadline always; the environment holds PATH, LC_ALL=C and what the caller adds, nothing inherited;
 * output is bounded and collected; a result other than the accepted exit codes is a `CommandError` that says which command it was,
 * how it ended and the end of its stderr. The child is killed (its whole process group) when the deadline passes or the signal aborts.
 *
 * Not here: long-lived children (QEMU, passt), and commands on foreign data, which belong in a jail.
 */
import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'

/** Where commands are looked for: fixed, so that the caller's environment cannot put another program in their place. */
export const COMMAND_PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

const DEFAULT_OUTPUT_BYTES = 16 * 1024 * 1024
const STDERR_TAIL_BYTES = 8 * 1024

/**
 * Asks the kernel for SIGKILL at the parent's death (prctl(2), PR_SET_PDEATHSIG), then looks whether it has died before that. The
 * parent's pid and the argv follow.
 */
const END_WITH_PARENT = [
  'setpriv',
  '--pdeathsig',
  'KILL',
  '--',
  '/bin/sh',
  '-c',
  '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"',
  'kvasir-child',
] as const

export interface CommandOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  readonly cwd?: string | undefined
  /** Text for the command's stdin; without it stdin is /dev/null. */
  readonly input?: string | Uint8Array | undefined
  /** Added to PATH and LC_ALL. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Exit codes that are no error; `[0]` unless told. */
  readonly acceptExitCodes?: readonly number[] | undefined
  /** Most bytes of stdout that are kept; more is an error. 16 MiB unless told. */
  readonly maxOutputBytes?: number | undefined
  /**
   * The command is killed when this process ends, however it ends: for what takes long and is of no use afterwards. Not its children,
   * unless it sees to that. A command that does not exist then ends with exit code 127.
   */
  readonly endsWithUs?: boolean | undefined
  /** Numbers of descriptors of this process that the command gets as 3, 4 and so on. */
  readonly descriptors?: readonly number[] | undefined
  /** Told of stdout as it comes, for commands that print their progress. */
  readonly onStdout?: ((text: string) => void) | undefined
  /** Told of stderr as it comes, for those that print it there. */
  readonly onStderr?: ((text: string) => void) | undefined
}

export interface CommandResult {
  readonly exitCode: number
  readonly stdout: string
  /** The end of stderr, at most 8 KiB. */
  readonly stderr: string
}

/** How a command that did not do its work ended. */
export type CommandFailure =
  | 'missing'
  | 'exit'
  | 'signal'
  | 'timeout'
  | 'aborted'
  | 'output-too-large'
  | 'not-json'

/** A command did not do its work: what was run, how it ended, the end of its stderr. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly argv: readonly string[]
  readonly failure: CommandFailure
  readonly exitCode: number | undefined
  readonly killedBy: string | undefined
  readonly stderr: string

  constructor(details: {
    argv: readonly string[]
    failure: CommandFailure
    exitCode?: number | undefined
    killedBy?: string | undefined
    stderr?: string | undefined
    cause?: unknown
  }) {
    super(sentence(details), details.cause === undefined ? undefined : { cause: details.cause })
    this.argv = details.argv
    this.failure = details.failure
    this.exitCode = details.exitCode
    this.killedBy = details.killedBy
    this.stderr = details.stderr ?? ''
  }
}

/** Runs a command and returns its output. Throws `CommandError`. */
export async function runCommand(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
  if (options.signal?.aborted)
    throw new CommandError({ argv, failure: 'aborted', cause: options.signal.reason })
  const [program, ...args] = options.endsWithUs ? [...END_WITH_PARENT, String(process.pid), ...argv] : argv
  if (program === undefined) throw new TypeError('A command needs a program.')

  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { PATH: COMMAND_PATH, LC_ALL: 'C', ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...(options.descriptors ?? [])],
    detached: true,
  })
  const killGroup = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }

  let failure: CommandFailure | undefined
  const stop = (reason: CommandFailure) => {
    failure ??= reason
    killGroup()
  }
  const deadline = setTimeout(() => stop('timeout'), options.timeoutMs)
  const onAbort = () => stop('aborted')
  options.signal?.addEventListener('abort', onAbort, { once: true })

  const stdout = collect(child.stdout, options.maxOutputBytes ?? DEFAULT_OUTPUT_BYTES, () =>
    stop('output-too-large'),
  )
  child.stdout?.on('data', (chunk: Buffer) => options.onStdout?.(chunk.toString('latin1')))
  child.stderr?.on('data', (chunk: Buffer) => options.onStderr?.(chunk.toString('latin1')))
  const stderr = keepTail(child.stderr, STDERR_TAIL_BYTES)
  if (options.input !== undefined && child.stdin !== null) {
    child.stdin.on('error', () => {}) // The command may end without reading all of it.
    child.stdin.end(options.input)
  }

  try {
    const end = await ended(child)
    if (end.error !== undefined)
      throw new CommandError({ argv, failure: failure ?? 'missing', cause: end.error })
    const details = { argv, exitCode: end.code, killedBy: end.signal, stderr: stderr() }
    if (failure !== undefined) throw new CommandError({ ...details, failure })
    if (end.code === undefined) throw new CommandError({ ...details, failure: 'signal' })
    if (!(options.acceptExitCodes ?? [0]).includes(end.code))
      throw new CommandError({ ...details, failure: 'exit' })
    return { exitCode: end.code, stdout: stdout(), stderr: stderr() }
  } finally {
    clearTimeout(deadline)
    options.signal?.removeEventListener('abort', onAbort)
  }
}

/** Runs a command that prints JSON and returns the parsed value; empty output is `undefined`. Throws `CommandError`. */
export async function runJsonCommand(argv: readonly string[], options: CommandOptions): Promise<unknown> {
  const result = await runCommand(argv, options)
  if (result.stdout.trim() === '') return undefined
  try {
    return JSON.parse(result.stdout)
  } catch (cause) {
    throw new CommandError({
      argv,
      failure: 'not-json',
      exitCode: result.exitCode,
      stderr: result.stderr,
      cause,
    })
  }
}

interface End {
  readonly code: number | undefined
  readonly signal: string | undefined
  readonly error: Error | undefined
}

function ended(child: ReturnType<typeof spawn>): Promise<End> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: undefined, signal: undefined, error }))
    child.once('close', (code, signal) =>
      resolve({ code: code ?? undefined, signal: signal ?? undefined, error: undefined }),
    )
  })
}

function collect(stream: Readable | null, maxBytes: number, onTooMuch: () => void): () => string {
  const chunks: Buffer[] = []
  let bytes = 0
  stream?.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > maxBytes) onTooMuch()
    else chunks.push(chunk)
  })
  return () => Buffer.concat(chunks).toString('utf8')
}

function keepTail(stream: Readable | null, maxBytes: number): () => string {
  let tail = Buffer.alloc(0)
  stream?.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-maxBytes)
  })
  return () => tail.toString('utf8')
}

function sentence(details: {
  argv: readonly string[]
  failure: CommandFailure
  exitCode?: number | undefined
  killedBy?: string | undefined
  stderr?: string | undefined
}): string {
  const program = details.argv[0] ?? ''
  const said = details.stderr?.trim() ? `: ${details.stderr.trim().slice(-400)}` : ''
  switch (details.failure) {
    case 'missing':
      return `${program} is not installed or cannot be run.`
    case 'exit':
      return `${program} ended with exit code ${details.exitCode}${said}`
    case 'signal':
      return `${program} was ended by ${details.killedBy ?? 'a signal'}${said}`
    case 'timeout':
      return `${program} did not end in time and was killed${said}`
    case 'aborted':
      return `${program} was stopped because its caller gave up.`
    case 'output-too-large':
      return `${program} printed more than allowed and was killed.`
    case 'not-json':
      return `${program} printed what is not JSON.`
  }
}
