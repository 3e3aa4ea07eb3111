/**
 * Makes a volume independent of what it is based on, while a guest runs on it too.
 *
 *     row: `flattened` ─▶ what lies below is copied up, by the emulator or without one ─▶ row: no base ─▶ a base that nobody needs goes
 *
 * Where the disk has snapshots, it is the lowest of their layers that becomes independent, and the others with it. Broken off anywhere,
 * it is gone on with: the volume lies on its base until the row says otherwise, and copying up twice changes nothing.
 */
import { type Job, KvasirError } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { backendOf, usablePlace } from '../pools/usable-pool.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { hasOpen, type Intake, takeInLive, takeInOffline } from '../snapshots/merge-layer.ts'
import { takePatiently } from '../snapshots/take-patiently.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import type { Asked } from './copy-volume.ts'
import { beginNativeFlatten, resumeNativeFlatten } from './flatten-native.ts'
import { beginWork, endWork, requireWhole } from './hold-volume.ts'
import { volumeChain } from './volume-chain.ts'
import { pathOf } from './volume-files.ts'
import { holderOf, vmsUsing } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'

const flattenDeadlineMs = 24 * 3_600_000
const againMs = 100

interface Flattening {
  readonly volume: VolumeRecord
  /** Of the VM that has it. */
  readonly driver: Driver | undefined
  readonly context: Context
  readonly job: JobHandle
}

/** Begins to flatten a volume. */
export function beginFlattenVolume(volume: VolumeRecord, asked: Asked): Job {
  const { context } = asked
  const { ports } = context
  const words = volumeWords(volume)
  requireWhole(volume)
  if (usablePlace(volume, ports).flatten) return beginNativeFlatten(volume, asked)
  const [user, ...others] = vmsUsing(volume, ports.store)
  if (others.length > 0)
    throw new KvasirError('in-use', `Volume ${words} is in use by several VMs, so it is not flattened.`)
  const driver = user && context.drivers.get(user.id)
  if (intakeOf(volume, driver, ports) === undefined)
    throw new KvasirError(
      'bad-request',
      `Volume ${words} is based on no other, so there is nothing to flatten.`,
    )
  if (driver) {
    driver.requireAllowed('merge')
    requireSettled(driver.view().record, ports)
  }
  return begin(volume, asked, async (job) => {
    await ports.failpoint('volume.flatten.before-row')
    beginWork(volume, 'flattened', context)
    await flatten({ volume, driver, context, job })
  })
}

/** Goes on with what a former daemon had begun. */
export function resumeFlattening(context: Context): void {
  const { store } = context.ports
  for (const volume of store.volumes.list()) {
    if (volume.work !== 'flattened') continue
    if (backendOf(volume, context.ports).flatten) {
      resumeNativeFlatten(volume, context)
      continue
    }
    const [user] = vmsUsing(volume, store)
    const driver = user && context.drivers.get(user.id)
    begin(volume, { context, caller: { name: 'recovery' }, keep: () => {} }, (job) =>
      flatten({ volume, driver, context, job }),
    )
  }
}

function begin(
  volume: VolumeRecord,
  { context, caller, keep }: Asked,
  work: (job: JobHandle) => Promise<void>,
): Job {
  return context.jobs.run(
    {
      kind: 'volume.flatten',
      subject: { kind: 'volume', name: volume.name, id: volume.id },
      owner: caller.name,
      deadlineMs: flattenDeadlineMs,
      alongside: keep,
    },
    async (job) => {
      await work(job)
      return volume.name
    },
  )
}

async function flatten(flattening: Flattening): Promise<void> {
  const { volume, driver, context, job } = flattening
  const { ports } = context
  try {
    await ports.failpoint('volume.flatten.after-row')
    for (;;) {
      job.signal.throwIfAborted()
      try {
        if (await takeIn(flattening)) break
      } catch (error) {
        // The emulator has ended, which its driver notices soon, or stands still: with or without it, this is tried again.
        const isLost = driver && error instanceof KvasirError && error.code === 'emulator-unresponsive'
        if (!isLost) throw error
      }
      await ports.clock.sleep(againMs, job.signal)
    }
  } catch (error) {
    const { reason } = job.signal
    const isLeaving = reason instanceof KvasirError && reason.code === 'shutting-down'
    if (!isLeaving) endWork(volume.id, context)
    throw error
  }
}

/** Copies up, live where an emulator has the volume open. False when that has to be tried again. */
async function takeIn({ volume, driver, context, job }: Flattening): Promise<boolean> {
  const { ports } = context
  const intake = intakeOf(volume, driver, ports)
  if (intake === undefined) {
    endWork(volume.id, context)
    return true
  }
  const onProgress = (fraction: number) =>
    job.progress(`copying what ${volumeWords(volume)} lies on`, fraction)
  const work = { ports, signal: job.signal, onProgress }
  if (!driver) {
    await takeInOffline(intake, work)
    await writeFlat(volume, intake, { context, job })
    return true
  }
  await takeInLive(driver, intake, work)
  const finish = async (seat: Seat) => {
    if (!seat.emulator || !(await hasOpen(seat.emulator, intake, ports)))
      await takeInOffline(intake, { ...work, signal: AbortSignal.any([seat.signal, job.signal]) })
    else if (!(await isLowest(seat, intake, ports))) return false
    await writeFlat(volume, intake, { context, job })
    return true
  }
  return await takePatiently(driver, 'merge', finish, { ...ports, ...job, jobId: job.id })
}

/** Whether the emulator has nothing under the volume any more. */
async function isLowest({ emulator }: Seat, { disk, into }: Intake, ports: Ports): Promise<boolean> {
  const path = pathOf(into, ports)
  const [chain] = (await emulator?.blocks.chains({ disks: [disk], files: [path] })) ?? []
  return chain?.layers.at(-1)?.path === path
}

async function writeFlat(
  volume: VolumeRecord,
  { into }: Intake,
  { context, job }: { readonly context: Context; readonly job: JobHandle },
): Promise<void> {
  const { ports } = context
  const { store } = ports
  await ports.failpoint('volume.flatten.after-merge')
  const now = store.volumes.get(into.id)
  if (!now) throw new KvasirError('volume-not-found', `There is no volume ${volumeWords(volume)} any more.`)
  job.conclude(volume.name, () => {
    store.volumes.update({ ...now, baseId: undefined, imageId: undefined })
    endWork(volume.id, context)
    context.emit('volume.changed', volumeWords(volume), { id: volume.id })
  })
  await ports.failpoint('volume.flatten.after-done')
  const base = now.baseId === undefined ? undefined : store.volumes.get(now.baseId)
  if (base?.frozen && !holderOf(base, store)) await removeVolume(base, context)
}

/** What has to take in what; undefined when nothing lies below that is not the disk's own. */
function intakeOf(volume: VolumeRecord, driver: Driver | undefined, ports: Ports): Intake | undefined {
  const { store } = ports
  const record = driver?.view().record
  const snapshots = record ? store.snapshots.ofVm(record.id) : []
  const layers = new Set(snapshots.flatMap((snapshot) => snapshot.layers.map(({ volumeId }) => volumeId)))
  let into = store.volumes.get(volume.id)
  while (into?.baseId !== undefined && layers.has(into.baseId)) into = store.volumes.get(into.baseId)
  if (!into || (into.baseId === undefined && into.imageId === undefined)) return undefined
  const disks = (record?.run?.bootedSpec ?? record?.spec)?.disks ?? []
  const disk = disks.find((one) => one.volume === volume.name && one.pool === volume.pool)?.name ?? ''
  return { disk, into, absorbed: volumeChain(into, ports).length - 1 }
}
