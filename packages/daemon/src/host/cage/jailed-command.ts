/**
 * A command on foreign data: the same cage as a VM's, for a program that ends by itself. It gets its inputs as read-only binds at
 * /in/0 to /in/3, one directory to write at /out, bounded time, memory, file size and output, and no descriptor of ours.
 *
 * The inputs must be readable by others and /out owned by the command's uid: a bind does not change what a file's mode says. Put them
 * in a directory that only root can enter, so that "others" is the jail alone. What the command left in /out was written by a stranger:
 * look at it with lstat, after this returns and no process of the uid lives, before opening anything.
 */
import type { Readable } from 'node:stream'
import { CageError } from './cage-error.ts'
import type { CageGroups } from './cage-groups.ts'
import { type CageBind, type CagedProgram, checkProgram, launcherBinds } from './cage-request.ts'
import { enterCage } from './enter-cage.ts'
import type { CageExit } from './launchers.ts'
import type { RootTemplate } from './root-template.ts'

export interface JailedCommand extends Omit<CagedProgram, 'limits' | 'binds'> {
  /** Paths bound read-only at /in/0, /in/1 ...; at most 4. */
  readonly inputs: readonly string[]
  /** A directory bound writable at /out. */
  readonly outputDirectory?: string
  readonly timeoutMs: number
  readonly addressSpaceBytes: number
  readonly cpuSeconds: number
  /** Most bytes of one file it may write; 0 forbids writing. */
  readonly fileSizeBytes: number
  /** Most bytes of stdout, and of stderr, that are kept; a command that prints more is killed. */
  readonly outputBytes: number
}

export interface JailedResult {
  readonly exit: CageExit
  readonly stdout: string
  readonly stderr: string
  /** Why it was killed by us, if it was. */
  readonly killed: 'timeout' | 'output' | 'aborted' | undefined
}

const OPEN_FILES = 64
const PROCESSES = 64
const KILL_TIMEOUT_MS = 5_000
const inputPlaces = ['/in/0', '/in/1', '/in/2', '/in/3'] as const

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
      binds: launcherBinds(template.path, program),
      limits: program.limits,
      argv: [program.binary, ...program.args],
    },
    output: 'pipe',
    descriptors: [],
    admit,
    onSpawn: (child) => {
      stdout = bounded(child.stdout, command.outputBytes, () => kill('output'))
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
  const inputs = command.inputs.map((source, index): CageBind => {
    const place = inputPlaces[index]
    if (place === undefined)
      throw new CageError('request', `A jailed command takes at most ${inputPlaces.length} inputs.`)
    return { source, place }
  })
  const output: readonly CageBind[] =
    command.outputDirectory === undefined
      ? []
      : [{ source: command.outputDirectory, place: '/out', writable: true }]
  const noKvm: readonly CageBind[] = template.hasKvm ? [{ source: '/dev/null', place: '/dev/kvm' }] : []
  return [...inputs, ...output, ...noKvm]
}

function limitsOf(command: JailedCommand): CagedProgram['limits'] {
  return {
    openFiles: OPEN_FILES,
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
