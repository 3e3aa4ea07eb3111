/**
 * A command on foreign data: the same cage as a VM's, for a program that ends by itself. It gets its inputs as read-only binds at
 * /in/0, /in/1 ..., what it may write at /out (a directory) or at /out/0, /out/1 ... (files that exist), bounded time, memory, file
 * size and output, and no descriptor of ours. It ends with the daemon, however that ends.
 *
 * A bind does not change what a file's mode says: the command's uid or gid must be allowed to read the inputs and to write the outputs
 * (file-access.ts). Keep them in a directory that only root can enter, so that nobody else gains by it. What the command left was
 * written by a stranger: look at it with lstat, after this returns and no process of the uid lives, before opening anything.
 */
import type { Readable } from 'node:stream'
import { CageError } from './cage-error.ts'
import type { CageGroups } from './cage-groups.ts'
import { type CageBind, type CagedProgram, checkProgram, launcherBinds } from './cage-request.ts'
import { enterCage } from './enter-cage.ts'
import type { CageExit } from './launchers.ts'
import { inputPlace, maxInputs, maxOutputs, outputPlace, type RootTemplate } from './root-template.ts'

export interface JailedCommand extends Omit<CagedProgram, 'limits' | 'binds' | 'endsWithDaemon'> {
  /** Paths bound read-only at /in/0, /in/1 ...; at most `maxInputs`. */
  readonly inputs: readonly string[]
  /** Paths of files that exist, bound writable at /out/0, /out/1 ...; at most `maxOutputs`. */
  readonly outputs?: readonly string[]
  /** Those of these paths that are device nodes, which are to work as such. */
  readonly devices?: ReadonlySet<string>
  /** A directory bound writable at /out; not together with `outputs`. */
  readonly outputDirectory?: string
  /** A directory bound writable at /run/vm, for sockets. */
  readonly socketDirectory?: string
  readonly timeoutMs: number
  readonly addressSpaceBytes: number
  readonly cpuSeconds: number
  /** Most bytes of one file it may write; 0 forbids writing. */
  readonly fileSizeBytes: number
  /** Most bytes of stdout, and of stderr, that are kept; a command that prints more is killed. */
  readonly outputBytes: number
  /** Told of stdout as it comes, for commands that print their progress. */
  readonly onStdout?: ((text: string) => void) | undefined
}

export interface JailedResult {
  readonly exit: CageExit
  readonly stdout: string
  readonly stderr: string
  /** Why it was killed by us, if it was. */
  readonly killed: 'timeout' | 'output' | 'aborted' | undefined
}

/** Besides its inputs and outputs. */
const OPEN_FILES = 64
const PROCESSES = 64
const KILL_TIMEOUT_MS = 5_000

/** Runs a command in a jail and reports how it ended; a failing command is a result. Throws `CageError` when the jail cannot be closed. */
export async function runJailed(
  command: JailedCommand,
  tools: {
    readonly template: RootTemplate
    readonly groups: CageGroups
    readonly signal: AbortSignal | undefined
  },
): Promise<JailedResult> {
  const { template, groups, signal } = tools
  const program: CagedProgram = { ...command, binds: bindsOf(command, template), limits: limitsOf(command) }
  checkProgram(program)
  await using undo = new AsyncDisposableStack()
  let stdout: Promise<string> | undefined
  let stderr: Promise<string> | undefined
  let killed: JailedResult['killed']
  const kill = (reason: NonNullable<JailedResult['killed']>) => {
    killed ??= reason
    void groups.kill(command.group, { timeoutMs: KILL_TIMEOUT_MS }).catch(() => {}) // `remove` below tries again and reports.
  }
  const admit = async (pid: number) => {
    await groups.make(command.group)
    undo.defer(() => groups.remove(command.group, { timeoutMs: KILL_TIMEOUT_MS }))
    await groups.admit(command.group, pid)
  }
  const entry = await enterCage({
    parameters: {
      template: template.path,
      logFifo: undefined,
      serialFifo: undefined,
      uid: program.uid,
      gid: program.gid,
      withoutThp: false,
      endsWithDaemon: true,
      withoutIoUring: false,
      reach: program.reach?.allowed,
      binds: launcherBinds(template.path, program),
      limits: program.limits,
      argv: [program.binary, ...program.args],
    },
    output: 'pipe',
    keepsLogs: false,
    descriptors: [],
    admit,
    onSpawn: (child) => {
      stdout = bounded(child.stdout, command.outputBytes, () => kill('output'))
      child.stdout?.on('data', (chunk: Buffer) => command.onStdout?.(chunk.toString('latin1')))
      stderr = bounded(child.stderr, command.outputBytes, () => kill('output'))
    },
    timeoutMs: command.timeoutMs,
    signal,
  })

  const deadline = setTimeout(() => kill('timeout'), command.timeoutMs)
  const onAbort = () => kill('aborted')
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  try {
    const exit = await entry.exited
    await groups.kill(command.group, { timeoutMs: KILL_TIMEOUT_MS }) // What it may have left behind would hold the pipes open.
    return { exit, stdout: (await stdout) ?? '', stderr: (await stderr) ?? '', killed }
  } finally {
    clearTimeout(deadline)
    signal?.removeEventListener('abort', onAbort)
  }
}

function bindsOf(command: JailedCommand, template: RootTemplate): readonly CageBind[] {
  const { inputs, outputs = [], outputDirectory, socketDirectory, devices } = command
  const isDevice = (source: string) => (devices?.has(source) ? { device: true } : {})
  if (inputs.length > maxInputs || outputs.length > maxOutputs)
    throw new CageError(
      'request',
      `A jailed command takes at most ${maxInputs} inputs and ${maxOutputs} outputs, so it was not run.`,
    )
  if (outputs.length > 0 && outputDirectory !== undefined)
    throw new CageError(
      'request',
      'A jailed command has a directory to write or files, not both, so it was not run.',
    )
  return [
    ...inputs.map((source, index) => ({ source, place: inputPlace(index), ...isDevice(source) })),
    ...outputs.map((source, index) => ({
      source,
      place: outputPlace(index),
      writable: true,
      ...isDevice(source),
    })),
    ...(outputDirectory === undefined
      ? []
      : [{ source: outputDirectory, place: '/out' as const, writable: true }]),
    ...(socketDirectory === undefined
      ? []
      : [{ source: socketDirectory, place: '/run/vm' as const, writable: true }]),
    ...(template.hasKvm ? [{ source: '/dev/null', place: '/dev/kvm' as const }] : []),
  ]
}

function limitsOf(command: JailedCommand): CagedProgram['limits'] {
  return {
    openFiles: OPEN_FILES + command.inputs.length + (command.outputs?.length ?? 0),
    processes: PROCESSES,
    addressSpaceBytes: command.addressSpaceBytes,
    cpuSeconds: command.cpuSeconds,
    fileSizeBytes: command.fileSizeBytes,
  }
}

function bounded(stream: Readable | null, maxBytes: number, onTooMuch: () => void): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  return new Promise((resolve) => {
    if (stream === null) return resolve('')
    stream.on('data', (chunk: Buffer) => {
      const room = Math.max(0, maxBytes - bytes)
      bytes += chunk.length
      if (room > 0) chunks.push(chunk.subarray(0, room))
      if (bytes > maxBytes) onTooMuch()
    })
    stream.on('error', () => {}) // `close` follows.
    stream.once('close', () => resolve(Buffer.concat(chunks).toString('utf8')))
  })
}
