/** Asks a new emulator who it is, and waits until it stands before its first instruction. */
import { KvasirError } from '@kvasir/contract'
import { QmpClient } from '@kvasir/qmp'
import { damagedFile } from '../../model/qemu/damaged-disk.ts'
import { type CephRefusal, cephRefusal, diskOf, fileIn, lockedDisk } from '../../model/qemu/disk-of.ts'
import type { EmulatorPlan } from '../../model/qemu/emulator-plan.ts'
import type { VcpuThread } from '../../ports/emulator-vcpus.ts'
import type { LaunchRequest } from '../../ports/emulators.ts'
import type { CagedProcess } from '../cage/cage.ts'
import { readCappedLog } from '../cage/capped-log.ts'
import { isLockRefusal, lockErrorOf } from '../pools/lock-error.ts'
import { damageError } from './damage-error.ts'
import { readThreads } from './qemu-vcpus.ts'
import type { EmulatorPaths } from './runtime-directory.ts'

const monitorTimeoutMs = 10_000
/** How fast the slowest host takes memory for a guest, or reads what was saved of it. */
const bytesPerMs = (16 * 2 ** 20) / 1000
const loadTimeoutMs = 15 * 60_000
/** How long QEMU may hash the passphrase of one volume: half a second on a host that does nothing else. */
const keyMs = 5_000
const pollMs = 20
/** How long a device of the host may take to be reset and mapped, each. */
const deviceMs = 15_000
/** How long a process may take to come up that serves a share, each. */
const shareMs = 5_000
/** What an emulator is while it loads saved memory. */
const loading = 'inmigrate'
const logTailBytes = 2048

/** Connects to the monitor of a new emulator. `emulator-failed` with its last words when it ends instead. */
export async function connectMonitor(
  { plan }: LaunchRequest,
  context: { readonly paths: EmulatorPaths; readonly caged: CagedProcess; readonly signal: AbortSignal },
): Promise<QmpClient> {
  const { paths, caged, signal } = context
  const { touchedBytes, loadedBytes } = plan.memory
  const died = new AbortController()
  void caged.exited.then(() => died.abort())
  try {
    return await QmpClient.connect({
      path: paths.socket('monitor'),
      greetingTimeoutMs:
        monitorTimeoutMs +
        (touchedBytes + loadedBytes) / bytesPerMs +
        plan.secrets.length * keyMs +
        (plan.hostDevices?.length ?? 0) * deviceMs +
        (plan.shares?.length ?? 0) * shareMs,
      signal: AbortSignal.any([signal, died.signal]),
    })
  } catch (error) {
    signal.throwIfAborted()
    await caged.logged.catch(() => {}) // Without keepers there are no last words.
    throw await startFailure(paths, plan, error)
  }
}

async function startFailure(
  paths: EmulatorPaths,
  plan: Pick<EmulatorPlan, 'ids' | 'argv' | 'descriptors'>,
  cause: unknown,
): Promise<KvasirError> {
  await new Promise((resolve) => setTimeout(resolve, 50)) // The log's keeper may still hold the last words.
  const log = Buffer.from(await readCappedLog(paths.emulatorLog, logTailBytes))
    .toString('utf8')
    .trim()
  const locked = lockedDisk(log, plan)
  if (locked !== undefined)
    return new KvasirError(
      'secret-refused',
      `The secret of ${locked === '' ? 'a disk' : `disk ${locked}`} does not open what the disk lies on, so the VM does not run.`,
      { details: { disk: locked }, cause },
    )
  const lines = log.split('\n')
  const lockAt = lines.findIndex(isLockRefusal)
  const held = lockAt < 0 ? undefined : fileIn(lines.slice(lockAt, lockAt + 2).join(' '), plan) // It names the file in the next line.
  if (held) return await lockErrorOf([held], 'the VM does not run')
  const refused = cephRefusal(log, plan)
  if (refused !== undefined) return cephError(refused, cause)
  const damaged = damagedFile(log, plan)
  if (damaged !== undefined) {
    const disk = diskOf(damaged.node, plan) ?? ''
    return damageError(damaged, { disk, consequence: 'the VM does not run', cause })
  }
  const lastLines = lines.slice(-3).join('; ')
  const reason = lastLines || (cause instanceof Error ? cause.message : 'it said nothing')
  return new KvasirError(
    'emulator-failed',
    `The emulator did not come up (${reason}), so the VM does not run.`,
    { cause },
  )
}

function cephError(
  { disk, place, image, user, words, isForbidden }: CephRefusal,
  cause: unknown,
): KvasirError {
  const why = isForbidden
    ? `does not let user ${user} write RBD image ${image}, which disk ${disk} lies on`
    : `does not open RBD image ${image}, which disk ${disk} lies on (${words})`
  return new KvasirError('pool-unreachable', `Ceph pool ${place} ${why}, so the VM does not run.`, {
    details: { disk, place, image, reason: words },
    cause,
  })
}

/** Asks the emulator who it is, and waits until it stands: at once, or when saved memory has been loaded. */
export async function checkEmulator(
  monitor: QmpClient,
  request: LaunchRequest,
  context: { readonly paths: EmulatorPaths; readonly signal: AbortSignal },
): Promise<readonly VcpuThread[]> {
  try {
    const [identity, threads, { status }] = await Promise.all([
      monitor.execute('query-uuid'),
      readThreads(monitor),
      monitor.execute('query-status'),
    ])
    if (identity.UUID !== request.uuid)
      throw new KvasirError('emulator-failed', 'Another emulator answered, so the VM was not started.')
    if (status === loading) await waitUntilLoaded(monitor, context.signal)
    return threads
  } catch (error) {
    context.signal.throwIfAborted()
    if (error instanceof KvasirError) throw error
    throw await startFailure(context.paths, request.plan, error)
  }
}

async function waitUntilLoaded(monitor: QmpClient, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + loadTimeoutMs
  while ((await monitor.execute('query-status')).status === loading) {
    signal.throwIfAborted()
    if (performance.now() > deadline)
      throw new KvasirError(
        'deadline-exceeded',
        'Loading the saved memory took too long, so the VM was not started.',
      )
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
