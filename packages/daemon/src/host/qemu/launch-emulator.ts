/**
 * Launching: from a plan to a QEMU that stands in its cage before its first instruction, checked over QMP.
 *
 * Each thing that is made has its undo beside it; a failure leaves nothing. What a dead daemon left is removed by `clean`, by name.
 */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { type ChildListener, listenForChild } from '@kvasir/linux'
import { QmpClient } from '@kvasir/qmp'
import type { Descriptor } from '../../model/qemu/emulator-plan.ts'
import type { LaunchRequest } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { CagedProcess, Cages } from '../cage/cage.ts'
import { CageError } from '../cage/cage-error.ts'
import { readCappedLog } from '../cage/capped-log.ts'
import { makeShare, sealShare } from '../cage/share.ts'
import { startNetworkHelpers } from './network-helper.ts'
import { QemuEmulator } from './qemu-emulator.ts'
import {
  type EmulatorPaths,
  groupOf,
  makeDirectories,
  removeDirectory,
  type StoredCage,
  writeRecord,
  writeWhole,
} from './runtime-directory.ts'
import type { VcpuThread } from './statistics.ts'

const launchTimeoutMs = 15_000
const monitorTimeoutMs = 10_000
const loadTimeoutMs = 15 * 60_000
const pollMs = 20
/** Both files of one log together; what a guest says beyond pushes the oldest out. */
const logCapBytes = 8 * 1024 * 1024
/** QEMU's own threads besides vCPUs: up to 64 workers for each I/O thread and the main loop. */
const workersPerLoop = 64
const logTailBytes = 2048

export interface LaunchTools {
  readonly cages: Cages
  readonly binary: string
  readonly failpoint: Failpoints
  readonly paths: EmulatorPaths
  readonly now: () => string
}

/** Launches an emulator. `emulator-failed` with the end of its log when it does not come up. */
export async function launchEmulator(
  request: LaunchRequest,
  tools: LaunchTools,
  signal: AbortSignal,
): Promise<QemuEmulator> {
  const { paths, failpoint, cages } = tools
  const group = groupOf(request.id)
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => {
    await cages.groups.remove(group, { timeoutMs: monitorTimeoutMs })
    await removeDirectory(paths)
  })
  await makeDirectories(paths)
  await failpoint('emulator.launch.after-directory')
  await writeWhole(paths.memo, request.memo)
  await failpoint('emulator.launch.after-memo')

  const opened = await openDescriptors(request.plan.descriptors, paths)
  let caged: CagedProcess
  try {
    await failpoint('emulator.launch.after-sockets')
    await prepareDirectories(request, tools, signal)
    await failpoint('emulator.launch.after-network')
    caged = await spawnCaged(request, tools, { descriptors: opened.numbers, signal })
    await failpoint('emulator.launch.after-spawn')
  } finally {
    await opened.release()
  }

  const monitor = await connectMonitor(paths, caged, signal)
  undo.defer(() => monitor.close())
  const vcpus = await checkEmulator(monitor, request, { paths, signal })
  await failpoint('emulator.launch.after-monitor')
  await placeThreads(monitor, { vcpus, group, ioThreads: request.plan.ids.ioThreads }, tools)
  await failpoint('emulator.launch.after-threads')
  await seal(request, paths)
  await failpoint('emulator.launch.after-seal')

  const record = {
    pid: caged.pid,
    startTicks: caged.identity.startTicks,
    bootId: caged.identity.bootId,
    cgroup: caged.cgroup,
    startedAt: tools.now(),
    qemuVersion: versionText(monitor),
    uid: request.uid,
    plan: { ids: request.plan.ids },
    cage: cageOf(request, paths),
  }
  await writeRecord(paths, record)
  undo.move()
  return new QemuEmulator({
    id: request.id,
    paths,
    groups: cages.groups,
    failpoint,
    record,
    monitor,
    vcpus,
    agentConnected: false,
    exited: caged.exited,
  })
}

interface OpenDescriptors {
  readonly numbers: readonly number[]
  /** Closes our copies; QEMU has its own. */
  release(): Promise<void>
}

async function openDescriptors(
  wanted: readonly Descriptor[],
  paths: EmulatorPaths,
): Promise<OpenDescriptors> {
  await using undo = new AsyncDisposableStack()
  const numbers: number[] = []
  for (const descriptor of wanted) {
    if (descriptor.kind === 'listener') {
      const listener: ChildListener = await listenForChild(paths.socket(descriptor.socket))
      undo.defer(() => listener.release())
      numbers.push(listener.fd)
      continue
    }
    const isRead = descriptor.kind === 'file' && descriptor.access === 'read'
    const file = await openForGuest(descriptor.path, isRead ? 'r' : 'r+')
    undo.defer(() => file.close())
    numbers.push(file.fd)
  }
  const stack = undo.move()
  return { numbers, release: () => stack.disposeAsync() }
}

async function openForGuest(path: string, flags: 'r' | 'r+') {
  try {
    return await open(path, flags)
  } catch (error) {
    throw new KvasirError('host-failed', `${path} cannot be opened, so the VM was not started.`, {
      cause: error,
    })
  }
}

async function prepareDirectories(
  request: LaunchRequest,
  tools: LaunchTools,
  signal: AbortSignal,
): Promise<void> {
  const { paths, cages } = tools
  const { uid } = request
  const cgroup = await cages.groups.make(groupOf(request.id))
  await Promise.all([
    makeShare(paths.share, { uid, gid: uid }),
    startNetworkHelpers({
      directory: paths.network,
      cgroup,
      emulatorUid: uid,
      helperUid: uid + 1,
      nics: request.plan.userNics,
      signal,
    }),
  ])
}

async function spawnCaged(
  request: LaunchRequest,
  tools: LaunchTools,
  with_: { readonly descriptors: readonly number[]; readonly signal: AbortSignal },
): Promise<CagedProcess> {
  const { paths, cages, binary } = tools
  const { plan, uid } = request
  try {
    return await cages.launch(
      {
        group: groupOf(request.id),
        joins: true,
        uid,
        gid: uid,
        binary,
        args: plan.argv,
        binds: bindsOf(request, paths),
        limits: {
          openFiles: 8192,
          processes: request.vcpuCount + workersPerLoop * (plan.ids.ioThreads.length + 1) + 16,
        },
        directory: paths.directory,
        descriptors: with_.descriptors,
        logs: { output: paths.emulatorLog, serial: paths.serialLog, capBytes: logCapBytes },
        timeoutMs: launchTimeoutMs,
      },
      with_.signal,
    )
  } catch (error) {
    if (error instanceof CageError) throw new KvasirError('emulator-failed', error.message, { cause: error })
    throw error
  }
}

function bindsOf(request: LaunchRequest, paths: EmulatorPaths) {
  const { plan } = request
  return [
    ...plan.binds.map(({ source, target }) => ({ source, place: target, writable: false })),
    { source: paths.share, place: '/run/vm' as const, writable: true },
    ...(plan.userNics.length > 0
      ? [{ source: paths.network, place: '/run/net' as const, writable: false }]
      : []),
  ]
}

/** What the emulator may see and hold: by this its cage is judged for as long as it runs. */
function cageOf(request: LaunchRequest, paths: EmulatorPaths): StoredCage {
  const opened = request.plan.descriptors.filter((descriptor) => descriptor.kind !== 'listener')
  return {
    places: bindsOf(request, paths).map(({ place, writable }) => ({ place, writable })),
    files: [
      ...opened.map((descriptor) => descriptor.path),
      join(paths.directory, 'output.fifo'),
      join(paths.directory, 'serial.fifo'),
    ],
  }
}

async function connectMonitor(
  paths: EmulatorPaths,
  caged: CagedProcess,
  signal: AbortSignal,
): Promise<QmpClient> {
  const died = new AbortController()
  void caged.exited.then(() => died.abort())
  try {
    return await QmpClient.connect({
      path: paths.socket('monitor'),
      greetingTimeoutMs: monitorTimeoutMs,
      signal: AbortSignal.any([signal, died.signal]),
    })
  } catch (error) {
    signal.throwIfAborted()
    throw await startFailure(paths, error)
  }
}

async function startFailure(paths: EmulatorPaths, cause: unknown): Promise<KvasirError> {
  await new Promise((resolve) => setTimeout(resolve, 50)) // The log's keeper may still hold the last words.
  const log = Buffer.from(await readCappedLog(paths.emulatorLog, logTailBytes))
    .toString('utf8')
    .trim()
  const lastLines = log.split('\n').slice(-3).join('; ')
  const reason = lastLines || (cause instanceof Error ? cause.message : 'it said nothing')
  return new KvasirError(
    'emulator-failed',
    `The emulator did not come up (${reason}), so the VM does not run.`,
    { cause },
  )
}

/** Asks the emulator who it is, and waits until it stands: at once, or when saved memory has been loaded. */
async function checkEmulator(
  monitor: QmpClient,
  request: LaunchRequest,
  context: { readonly paths: EmulatorPaths; readonly signal: AbortSignal },
): Promise<readonly VcpuThread[]> {
  try {
    const [identity, cpus] = await Promise.all([
      monitor.execute('query-uuid'),
      monitor.execute('query-cpus-fast'),
    ])
    if (identity.UUID !== request.uuid)
      throw new KvasirError('emulator-failed', 'Another emulator answered, so the VM was not started.')
    await waitUntilLoaded(monitor, context.signal)
    return cpus.map((cpu) => ({ index: cpu['cpu-index'], threadId: cpu['thread-id'] }))
  } catch (error) {
    context.signal.throwIfAborted()
    if (error instanceof KvasirError) throw error
    throw await startFailure(context.paths, error)
  }
}

async function waitUntilLoaded(monitor: QmpClient, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + loadTimeoutMs
  while ((await monitor.execute('query-status')).status === 'inmigrate') {
    signal.throwIfAborted()
    if (performance.now() > deadline)
      throw new KvasirError(
        'deadline-exceeded',
        'Loading the saved memory took too long, so the VM was not started.',
      )
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/** Threads into threaded children where cgroup v2 has the controllers that make it worth while. */
async function placeThreads(
  monitor: QmpClient,
  what: {
    readonly vcpus: readonly VcpuThread[]
    readonly group: string
    readonly ioThreads: readonly string[]
  },
  tools: LaunchTools,
): Promise<void> {
  if (tools.cages.groups.shortcomings.some((sentence) => /no cpu(set)? controller/.test(sentence))) return
  const ioThreads = what.ioThreads.length > 0 ? await monitor.execute('query-iothreads') : []
  const places = [
    ...what.vcpus.map(({ index, threadId }) => ({ threadId, child: `vcpu${index}` })),
    ...ioThreads.map((thread) => ({
      threadId: thread['thread-id'],
      child: `io${what.ioThreads.indexOf(thread.id)}`,
    })),
  ]
  await tools.cages.groups.assignThreads(what.group, places)
}

async function seal(request: LaunchRequest, paths: EmulatorPaths): Promise<void> {
  const { vncSocketName } = request.plan.ids
  const sockets = vncSocketName === undefined ? [] : [vncSocketName]
  const strangers = await sealShare(paths.share, { uid: request.uid, sockets })
  if (strangers.length > 0)
    throw new KvasirError(
      'emulator-failed',
      `The emulator made files it should not have (${strangers.slice(0, 5).join(', ')}), so it was ended.`,
    )
}

function versionText(monitor: QmpClient): string {
  const { major, minor, micro } = monitor.version
  return `${major}.${minor}.${micro}`
}
