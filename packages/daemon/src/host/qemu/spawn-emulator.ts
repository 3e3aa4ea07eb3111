/** From a plan to a process in its cage, and what that cage may hold. */
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { LaunchRequest } from '../../ports/emulators.ts'
import type { CagedProcess, Cages } from '../cage/cage.ts'
import { CageError } from '../cage/cage-error.ts'
import { memoryPlace } from '../cage/cage-request.ts'
import type { PassedDescriptor } from '../cage/launcher-script.ts'
import { vfioBinds } from './host-device-files.ts'
import { renderBinds } from './render-node-files.ts'
import { type EmulatorBind, type EmulatorPaths, groupOf, type StoredCage } from './runtime-directory.ts'

const launchTimeoutMs = 15_000
/** Both files of one log together; what a guest says beyond pushes the oldest out. */
const logCapBytes = 8 * 1024 * 1024
/** QEMU's own threads besides vCPUs: up to 64 workers for the main loop and each I/O thread (util/thread-pool.c). */
const workersPerLoop = 64
/** The threads of Mesa and of what renders on the CPU: at most 32 of each kind (Mesa: llvmpipe's LP_MAX_THREADS, util/u_queue.c). */
const renderThreads = 256

export interface SpawnTools {
  /** Whether a device of the host could be handed to it. */
  readonly takesDevices: boolean
  readonly paths: EmulatorPaths
  readonly cages: Cages
  readonly binary: string
  readonly descriptors: readonly PassedDescriptor[]
  readonly signal: AbortSignal
}

/** Runs QEMU in its cage. `emulator-failed` when the cage cannot be closed or QEMU ends at once. */
export async function spawnEmulator(request: LaunchRequest, tools: SpawnTools): Promise<CagedProcess> {
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
        binds: bindsOf(request, tools),
        memory: plan.memory.fileSystem,
        withoutThp: plan.memory.withoutThp,
        withoutIoUring: !usesIoUring(request),
        reach: plan.reach.length === 0 ? undefined : { allowed: [], file: paths.reach },
        limits: {
          openFiles: 8192,
          memlockBytes: plan.memory.lockableBytes,
          processes:
            request.vcpuCount +
            workersPerLoop * (plan.mostIoThreads + 1) +
            16 +
            (plan.ids.renderNode === undefined ? 0 : renderThreads),
        },
        directory: paths.directory,
        descriptors: tools.descriptors,
        logs: { output: paths.emulatorLog, serial: paths.serialLog, capBytes: logCapBytes },
        timeoutMs: launchTimeoutMs,
      },
      tools.signal,
    )
  } catch (error) {
    throw asFailure(error)
  }
}

/** Waits until the logs of an emulator are kept. `emulator-failed` when they are not. */
export async function untilLogged(caged: CagedProcess): Promise<void> {
  try {
    await caged.logged
  } catch (error) {
    throw asFailure(error)
  }
}

function asFailure(error: unknown): unknown {
  if (!(error instanceof CageError)) return error
  return new KvasirError('emulator-failed', error.message, { cause: error })
}

type BindTools = Pick<SpawnTools, 'paths' | 'takesDevices'>

function bindsOf(request: LaunchRequest, { paths, takesDevices }: BindTools): readonly EmulatorBind[] {
  const { plan } = request
  return [
    ...plan.binds.map(({ source, target }) => ({ source, place: target, writable: false })),
    { source: paths.share, place: '/run/vm' as const, writable: true },
    ...(takesDevices ? vfioBinds(paths) : []),
    ...(plan.ids.renderNode === undefined ? [] : renderBinds(paths)),
  ]
}

/** What the emulator may see and hold: by this its cage is judged for as long as it runs. */
export function cageOf(request: LaunchRequest, tools: BindTools): Omit<StoredCage, 'trees'> {
  const { fileSystem } = request.plan.memory
  const { renderNode } = request.plan.ids
  const { paths } = tools
  const binds = bindsOf(request, tools)
  const opened = request.plan.descriptors.filter((one) => one.kind === 'file' || one.kind === 'device')
  return {
    places: [
      ...binds.map(({ place, writable }) => ({ place, writable })),
      ...(fileSystem ? [{ place: memoryPlace, writable: true as const }] : []),
    ],
    files: [
      ...opened.map((descriptor) => descriptor.path),
      ...(renderNode === undefined ? [] : [renderNode]),
      ...(fileSystem?.files ?? []),
      join(paths.directory, 'output.fifo'),
      join(paths.directory, 'serial.fifo'),
    ],
    filesOf: {},
    ioUring: usesIoUring(request),
  }
}

/** One that gets servers as well gets no io_uring: its disks would not start with it. */
function usesIoUring({ plan }: LaunchRequest): boolean {
  return plan.reach.length === 0 && Object.values(plan.ids.disks).some(({ aio }) => aio?.mode === 'io_uring')
}
