/**
 * Launching: from a plan to a QEMU that stands in its cage before its first instruction, checked over QMP.
 *
 * Each thing that is made has its undo beside it; a failure leaves nothing. What a dead daemon left is removed by `clean`, by name.
 */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { withUserServer } from '../../model/qemu/slirp.ts'
import { memoryLimitFiles } from '../../model/vm/limit-files.ts'
import type { VcpuThread } from '../../ports/emulator-vcpus.ts'
import type { LaunchRequest } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { CagedProcess, Cages } from '../cage/cage.ts'
import { makeShare, sealShare } from '../cage/share.ts'
import type { DeviceDesk } from '../devices/device-desk.ts'
import type { SecretValues } from '../files/secret-files.ts'
import type { HugepageDesk } from '../memory/hugepage-desk.ts'
import { applyThreads } from '../threads/apply-threads.ts'
import { askThreadNames } from '../threads/emulator-threads.ts'
import { checkEmulator, connectMonitor } from './check-emulator.ts'
import { writeReach } from './emulator-reach.ts'
import { laySecrets, removeSecrets } from './hand-secrets.ts'
import { makeDeviceFolders, showDevices } from './host-device-files.ts'
import type { NicServers } from './network-helper.ts'
import { type OpenDescriptors, openDescriptors, tpmEnd } from './open-descriptors.ts'
import type { PageWalks } from './page-walks.ts'
import { QemuEmulator } from './qemu-emulator.ts'
import { showRenderNode } from './render-node-files.ts'
import {
  type EmulatorPaths,
  groupOf,
  makeDirectories,
  removeDirectory,
  type StoredEmulator,
  type StoredLaunch,
  writeLaunch,
  writeRecord,
  writeWhole,
} from './runtime-directory.ts'
import { startShares } from './share-helper.ts'
import { requireSoundTables } from './sound-tables.ts'
import { cageOf, type SpawnTools, spawnEmulator, untilLogged } from './spawn-emulator.ts'
import { startTpm } from './tpm-helper.ts'

const removeTimeoutMs = 10_000

export interface LaunchTools {
  readonly cages: Cages
  readonly hugepages: HugepageDesk
  readonly devices: DeviceDesk
  readonly secrets: SecretValues
  readonly walks: PageWalks
  readonly helpers: NicServers
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
  const { paths, failpoint, cages, hugepages, devices } = tools
  const group = groupOf(request.id)
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => {
    await cages.groups.remove(group, { timeoutMs: removeTimeoutMs })
    await hugepages.giveBack(paths.pages)
    await devices.giveBack(request.id)
    await removeDirectory(paths)
  })
  await makeDirectories(paths)
  await failpoint('emulator.launch.after-directory')
  if (request.pages) await hugepages.handOut(request.pages, paths.pages, { signal })
  const lent = await devices.lend(request, request.plan.hostDevices ?? [], request.plan.vfs)
  const takesDevices = lent.length > 0 || (await devices.hasGroups())
  if (takesDevices) await makeDeviceFolders(paths)
  await showDevices(lent, { ...paths, uid: request.uid, roms: request.plan.roms })
  const { renderNode } = request.plan.ids
  if (renderNode !== undefined) await showRenderNode(renderNode, { ...paths, uid: request.uid })
  const launch = {
    uid: request.uid,
    plan: { ids: await withServer(request.plan, tools.helpers) },
    cage: { ...cageOf(request, { paths, takesDevices }), trees: tools.cages.trees },
  }
  const { caged, monitor, record, vcpus } = await comeUp(request, launch, {
    ...tools,
    signal,
    takesDevices,
  })
  undo.defer(() => monitor.close())
  hugepages.taken(paths.pages)
  await failpoint('emulator.launch.after-monitor')
  if (request.threads) {
    const names = await askThreadNames(monitor, launch.plan)
    await applyThreads({ record, names, group, groups: cages.groups }, request.threads)
  }
  await failpoint('emulator.launch.after-threads')
  undo.move()
  return new QemuEmulator({
    id: request.id,
    paths,
    groups: cages.groups,
    cages,
    walks: tools.walks,
    secrets: tools.secrets,
    devices,
    helpers: tools.helpers,
    failpoint,
    record,
    monitor,
    vcpus,
    open: [],
    mayReach: request.plan.reach.length > 0,
    exited: caged.exited,
  })
}

async function withServer({ ids, userNics }: LaunchRequest['plan'], helpers: NicServers) {
  return userNics.length === 0 ? ids : withUserServer(ids, { userNics, server: await helpers.server() })
}

/** An emulator that stands before its first instruction. */
interface StandingEmulator {
  readonly caged: CagedProcess
  readonly monitor: QmpClient
  readonly record: StoredEmulator
  readonly vcpus: readonly VcpuThread[]
}

/**
 * The network helpers and the TPM come up while QEMU does, and not while the cage closes: several programs take turns then, and QEMU alone would
 * leave a core idle. What goes wrong with them says more than what it does to QEMU.
 */
async function comeUp(
  request: LaunchRequest,
  launch: StoredLaunch,
  tools: LaunchTools & Pick<SpawnTools, 'signal' | 'takesDevices'>,
): Promise<StandingEmulator> {
  const { paths, failpoint, signal } = tools
  const { opened, cgroup } = await makeReady(request, launch, tools)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => releaseAll(opened))
  await failpoint('emulator.launch.after-memo')
  await failpoint('emulator.launch.after-sockets')
  const caged = await spawnEmulator(request, { ...tools, descriptors: opened.numbers })
  await failpoint('emulator.launch.after-spawn')
  await opened.release()

  const ended = new AbortController()
  const served = serveDevices(request, opened, {
    ...tools,
    cgroup,
    signal: AbortSignal.any([signal, ended.signal]),
  })
  served.catch(() => {}) // Asked below.
  try {
    const monitor = await connectMonitor(request, { paths, caged, signal })
    undo.defer(() => monitor.close())
    const record = recordOf(launch, { caged, monitor, startedAt: tools.now() })
    const [vcpus] = await allDone([
      checkEmulator(monitor, request, { paths, signal }),
      seal(request, paths),
      writeRecord(paths, record),
    ])
    await failpoint('emulator.launch.after-seal')
    await Promise.all([served, untilLogged(caged)])
    await failpoint('emulator.launch.after-network')
    undo.move()
    return { caged, monitor, record, vcpus }
  } catch (error) {
    ended.abort(error)
    await served
    throw error
  }
}

/** What there is before there is a process, made side by side: each part waits for the kernel, and none for another. */
async function makeReady(
  request: LaunchRequest,
  launch: StoredLaunch,
  tools: LaunchTools,
): Promise<{ readonly opened: OpenDescriptors; readonly cgroup: string }> {
  const { paths } = tools
  const opening = openDescriptors(request.plan.descriptors, {
    paths,
    user: request.uid,
    taps: request.plan.taps ?? [],
  })
  try {
    const [opened, , cgroup] = await allDone([
      opening,
      requireSoundTables(request.plan),
      makeGroup(request, tools),
      makeShareWithSecrets(request, tools),
      writeWhole(paths.memo, request.memo),
      writeLaunch(paths, launch),
      writeReach(paths, request.plan.reach),
    ])
    return { opened, cgroup }
  } catch (error) {
    await opening.then(releaseAll, () => {}) // One that could not be opened is what is told.
    throw error
  }
}

async function makeShareWithSecrets({ uid, plan }: LaunchRequest, tools: LaunchTools): Promise<void> {
  const { share } = tools.paths
  await makeShare(share, { uid, gid: uid })
  await laySecrets(share, plan, { values: tools.secrets, uid })
}

/** As Promise.all, but when it rejects nothing is under way any more: what is undone then is not made once more. */
async function allDone<const T extends readonly unknown[]>(work: T) {
  await Promise.allSettled(work)
  return await Promise.all(work)
}

function recordOf(
  launch: StoredLaunch,
  {
    caged,
    monitor,
    startedAt,
  }: { readonly caged: CagedProcess; readonly monitor: QmpClient; readonly startedAt: string },
): StoredEmulator {
  const { major, minor, micro } = monitor.version
  return {
    ...launch,
    pid: caged.pid,
    startTicks: caged.identity.startTicks,
    bootId: caged.identity.bootId,
    cgroup: caged.cgroup,
    startedAt,
    qemuVersion: `${major}.${minor}.${micro}`,
  }
}

/** The VM's cgroup, with its limits before anything is charged to it. What this host cannot limit is told in the VM's status. */
async function makeGroup(request: LaunchRequest, { cages }: LaunchTools): Promise<string> {
  const group = groupOf(request.id)
  const path = await cages.groups.make(group)
  const limits = request.memoryLimits ?? {}
  const isLimited = Object.values(limits).some((limit) => limit !== undefined)
  if (isLimited) await cages.groups.limit(group, memoryLimitFiles(limits))
  return path
}

async function serveDevices(
  request: LaunchRequest,
  opened: OpenDescriptors,
  context: LaunchTools & { readonly cgroup: string; readonly signal: AbortSignal },
): Promise<void> {
  const end = opened.helperEnds.get(tpmEnd)
  const nics = request.plan.userNics.map((plan) => {
    const end = opened.helperEnds.get(plan.nic)
    if (end === undefined) throw new TypeError(`NIC ${plan.nic} has no descriptor in the plan.`)
    return { plan, fd: end.fd }
  })
  const { cgroup, signal, helpers } = context
  const { trees } = context.cages
  try {
    await allDone([
      helpers.start({ cgroup, signal, trees, helperUid: request.uid + 1, nics }),
      end && startTpm(request, { ...context, fd: end.fd }),
      opened.shares && startShares(request, { ...context, shares: opened.shares }),
    ])
  } finally {
    releaseEnds(opened) // QEMU waits for none that did not start.
  }
}

async function releaseAll(opened: OpenDescriptors): Promise<void> {
  releaseEnds(opened)
  await opened.release()
}

function releaseEnds({ helperEnds, shares }: OpenDescriptors): void {
  for (const end of helperEnds.values()) end.release()
  shares?.release()
}

async function seal(request: LaunchRequest, paths: EmulatorPaths): Promise<void> {
  const { vncSocketName, spiceSocketName } = request.plan.ids
  if (request.plan.secrets.length > 0) await removeSecrets(paths.share)
  const sockets = [vncSocketName, spiceSocketName].filter((name) => name !== undefined)
  const strangers = await sealShare(paths.share, { uid: request.uid, sockets })
  if (strangers.length > 0)
    throw new KvasirError(
      'emulator-failed',
      `The emulator made files it should not have (${strangers.slice(0, 5).join(', ')}), so it was ended.`,
    )
}
