/**
 * The cage: how a program that faces a guest or a stranger's file is run on this host.
 *
 * Every caged program has a uid of its own, no capabilities, no way to gain any, its own mount, network, IPC and UTS namespaces with
 * a read-only root that holds nothing of the host but /usr, its own cgroup that it was born in, and only the descriptors it was
 * given. It outlives the daemon. A server of files is root with the capabilities of files instead (inspect-server.ts). `inspect-cage.ts` says from /proc whether all of that holds.
 *
 * Not here: what is run and with which arguments (model/qemu), the emulator's monitor, which uid a VM has, commands that end by
 * themselves (jailed-command.ts).
 */
import { constants } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { closeInheritedDescriptors, identifyProcess, type ProcessIdentity } from '@kvasir/linux'
import { CageError } from './cage-error.ts'
import { type CageGroups, openCageGroups } from './cage-groups.ts'
import {
  type CagedProgram,
  checkPath,
  checkProgram,
  fileCapabilities,
  launcherBinds,
} from './cage-request.ts'
import { keepLogs, readCappedLog } from './capped-log.ts'
import { ensureConnector } from './connectors.ts'
import { type CageEntry, describeExit, enterCage, type StepTime } from './enter-cage.ts'
import { type JailedCommand, type JailedResult, runJailed } from './jailed-command.ts'
import type { PassedDescriptor } from './launcher-script.ts'
import { type CageExit, HeldLaunchers, killSession } from './launchers.ts'
import { openRootTemplate } from './root-template.ts'

export interface CageOptions {
  /** The daemon's runtime directory; the template lives in `cage` below it. */
  readonly runtimeDir: string
  /** The name of the daemon's cgroup, e.g. `kvasir` or `kvasir-test1`. */
  readonly cgroupName: string
  /** Whether /dev/kvm is put into every cage. */
  readonly kvm: boolean
  /** Directories of the host besides /usr that programs need to see, read-only. */
  readonly trees?: readonly string[]
}

/** A long-lived program, such as an emulator, to be run in a cage. */
export interface LaunchRequest extends CagedProgram {
  /** A directory that only root can enter; the named pipes of the logs are made in it. */
  readonly directory: string
  /** The n-th becomes descriptor `FIRST_DESCRIPTOR + n` in the cage. They stay open where they are; close them after. */
  readonly descriptors: readonly PassedDescriptor[]
  /** Files for stdout and stderr together, and for what the program writes to `SERIAL_LOG_DESCRIPTOR`. */
  readonly logs: { readonly output: string; readonly serial?: string; readonly capBytes: number }
  /** True when `groups.make` was called before and helpers may already live in the group; else a populated group is refused. */
  readonly joins?: boolean
  readonly timeoutMs: number
}

/** A program in its cage. */
export interface CagedProcess {
  readonly pid: number
  readonly identity: ProcessIdentity
  /** The absolute path of its cgroup. */
  readonly cgroup: string
  /** When each step of the launch began. */
  readonly steps: readonly StepTime[]
  /** Settles when its logs are kept; until then what it says waits in their pipes. Rejects with `CageError`, step `log`. */
  readonly logged: Promise<void>
  /** Settles when the process ends; only the daemon that launched it learns how. */
  readonly exited: Promise<CageExit>
}

export interface Cages {
  /** Runs a program in a cage. Resolves when the program itself runs. Throws `CageError`, having undone everything. */
  launch(request: LaunchRequest, signal?: AbortSignal): Promise<CagedProcess>
  /** Runs a command in a jail until it ends, for foreign data. */
  runJailed(command: JailedCommand, signal?: AbortSignal): Promise<JailedResult>
  readonly groups: CageGroups
  /** Directories of the host besides /usr that every cage shows. */
  readonly trees: readonly string[]
  /** What this host cannot enforce, in sentences. */
  readonly shortcomings: readonly string[]
  /** Unmounts the template and removes the daemon's cgroup if it is empty. Caged programs go on. A daemon does not call this on exit. */
  remove(): Promise<void>
}

const KILL_TIMEOUT_MS = 5_000
const LOG_TAIL_BYTES = 4096

/**
 * Prepares the host for cages: the root template and the daemon's cgroup. Safe to repeat. Closes the descriptors above 2 that this
 * process was born with, because every child would inherit them: take sockets of a service manager over before. Throws `CageError`.
 */
export async function openCages(options: CageOptions): Promise<Cages> {
  if (process.getuid?.() !== 0) throw new CageError('template', 'Kvasir is not root, so it cannot cage a VM.')
  checkPath(options.runtimeDir)
  closeInheritedDescriptors()
  const [template, groups] = await Promise.all([
    openRootTemplate({
      cageDirectory: join(options.runtimeDir, 'cage'),
      trees: options.trees ?? [],
      kvm: options.kvm,
    }),
    openCageGroups(options.cgroupName),
  ])
  const launchers = new HeldLaunchers()
  launchers.holdSoon()
  return {
    launch: (request, signal) => launch(request, { template: template.path, groups, launchers, signal }),
    runJailed: (command, signal) => runJailed(command, { template, groups, signal }),
    groups,
    trees: options.trees ?? [],
    shortcomings: groups.shortcomings,
    remove: async () => {
      launchers[Symbol.dispose]()
      await template.remove()
      await groups.removeAll()
    },
  }
}

interface LaunchTools {
  readonly template: string
  readonly groups: CageGroups
  readonly launchers: HeldLaunchers
  readonly signal: AbortSignal | undefined
}

async function launch(request: LaunchRequest, tools: LaunchTools): Promise<CagedProcess> {
  checkProgram(request)
  ;[request.directory, request.logs.output, request.logs.serial ?? '/'].forEach(checkPath)
  tools.groups.announce()
  await using undo = new AsyncDisposableStack()

  const output = { fifo: join(request.directory, 'output.fifo'), file: request.logs.output }
  const serial =
    request.logs.serial === undefined
      ? undefined
      : { fifo: join(request.directory, 'serial.fifo'), file: request.logs.serial }
  const logs = serial === undefined ? [output] : [output, serial]
  const cgroup = tools.groups.path(request.group)
  if (!request.joins) {
    await tools.groups.make(request.group)
    undo.defer(() => tools.groups.remove(request.group, { timeoutMs: KILL_TIMEOUT_MS }))
  }
  const held = new AsyncDisposableStack()
  undo.defer(() => held.disposeAsync())
  const admit = async (pid: number, arrived: Promise<void>) => {
    const openPipes = async () => {
      await arrived
      for (const { fifo } of logs) held.use(await open(fifo, constants.O_RDWR | constants.O_NONBLOCK))
    }
    // Both are waited for, so that no pipe is opened after all of them were closed.
    const results = await Promise.allSettled([tools.groups.admit(request.group, pid), openPipes()])
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  const entry = await explainMemlock(
    request,
    enterCage({
      parameters: {
        template: tools.template,
        logFifo: output.fifo,
        serialFifo: serial?.fifo,
        uid: request.uid,
        gid: request.gid,
        withoutThp: request.withoutThp ?? false,
        endsWithDaemon: request.endsWithDaemon ?? false,
        capabilities: request.servesFiles ? fileCapabilities : 0,
        withoutIoUring: request.withoutIoUring === true || request.reach !== undefined,
        binds: launcherBinds(tools.template, request),
        limits: request.limits,
        argv: [request.binary, ...request.args],
      },
      output: 'ignore',
      keepsLogs: true,
      descriptors: request.descriptors,
      admit,
      launchers: tools.launchers,
      timeoutMs: request.timeoutMs,
      signal: tools.signal,
    }).finally(() => tools.launchers.holdSoon()),
  )
  undo.defer(() => killSession(entry.pid))
  // Two processes less to take turns with; until they are there, what the program says waits in the pipes that we hold.
  const logged = takeOver(keepLogs(entry.keeper, logs, { cgroup, capBytes: request.logs.capBytes }), held)
  logged.catch(() => {}) // Asked by who launches.
  const identity = await identifyProcess(entry.pid)
  if (identity === undefined) {
    await logged
    throw await endedAtOnce(entry, request)
  }
  await letReach(request, { groups: tools.groups, pid: entry.pid, logged })
  tools.signal?.throwIfAborted()
  entry.child.unref()
  undo.move() // Success: keep everything.
  return { pid: entry.pid, identity, cgroup, steps: entry.steps, logged, exited: entry.exited }
}

async function letReach(
  { group, reach }: LaunchRequest,
  { logged, ...tools }: { readonly groups: CageGroups; readonly pid: number; readonly logged: Promise<void> },
): Promise<void> {
  if (reach === undefined) return
  await logged // Whoever keeps its logs has the listener.
  const why = await ensureConnector({ group, reach, ...tools })
  if (why === undefined) return
  throw new CageError('exec', `Nobody can connect to servers for the program, so it was ended: ${why}.`)
}

async function takeOver(ready: Promise<void>, held: AsyncDisposableStack): Promise<void> {
  try {
    await ready
  } finally {
    await held.disposeAsync()
  }
}

async function endedAtOnce(entry: CageEntry, request: LaunchRequest): Promise<CageError> {
  const exit = await entry.exited
  await new Promise((resolve) => setTimeout(resolve, 50)) // The log's keeper may still hold the last words.
  const log = Buffer.from(await readCappedLog(request.logs.output, LOG_TAIL_BYTES))
    .toString('utf8')
    .trim()
  return new CageError(
    'exec',
    `${request.binary} ended at once (${describeExit(exit)}), so the VM does not run: ${log || 'it said nothing'}`,
    {
      stderr: log,
    },
  )
}

/** Raising the hard limit of locked memory takes CAP_SYS_RESOURCE, which root in a container or a nested host may lack. */
async function explainMemlock(request: LaunchRequest, entering: Promise<CageEntry>): Promise<CageEntry> {
  try {
    return await entering
  } catch (error) {
    const asked = request.limits.memlockBytes
    if (!(error instanceof CageError) || error.step !== 'limits' || asked === undefined) throw error
    const limits = await readFile('/proc/self/limits', 'utf8')
    const hard = /^Max locked memory\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? 'unknown'
    throw new CageError(
      'limits',
      `The VM needs ${asked} bytes of locked memory, but this daemon may grant at most ${hard} and lacks CAP_SYS_RESOURCE to raise it, so the VM cannot be started.`,
      { stderr: error.stderr, cause: error },
    )
  }
}
