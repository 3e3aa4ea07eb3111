/**
 * Takes a snapshot of all disks of a VM at one instant.
 *
 *     row `creating` ─▶ overlay files ─▶ row `switching` ─▶ (the guest freezes) ─▶ the emulator goes over to them ─▶ row `ready`
 *
 * From `switching` on only the emulator knows; whatever breaks this off, settle-snapshots.ts goes by what it says.
 */
import { isReadOnly, KvasirError } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { NewOverlay } from '../../ports/emulator-blocks.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { backendOf } from '../pools/usable-pool.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { makeVolumeFile, pathOf } from '../volumes/volume-files.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { requireSettled } from './find-snapshot.ts'
import { layerOptions } from './layer-options.ts'
import { settleSnapshots, thaw } from './settle-snapshots.ts'
import { requireMemory, withMemory } from './snapshot-memory.ts'
import { undoSnapshot, writeSwitched } from './switch-layers.ts'

export interface SnapshotRequest {
  readonly name: string
  readonly description: string
  readonly quiesce: boolean
  /** The guest's memory too. */
  readonly memory: boolean
  readonly job: JobHandle
}

/** One disk of the VM: the volume that becomes a layer, and the one that goes on. */
interface DiskSwitch {
  readonly disk: string
  readonly volume: VolumeRecord
  readonly successor: VolumeRecord
}

/** Takes a snapshot. On failure the VM is as before. */
export async function createSnapshot(
  driver: Driver,
  context: Context,
  request: SnapshotRequest,
): Promise<void> {
  await driver.take('snapshot', (seat) => takeSnapshot(seat, context, request), { jobId: request.job.id })
}

async function takeSnapshot(seat: Seat, context: Context, request: SnapshotRequest): Promise<void> {
  const { ports } = context
  const { job } = request
  await settleSnapshots(seat, ports)
  requireSettled(seat.record, ports)
  if (request.memory) requireMemory(seat)
  const disks = planSwitch(seat, request.name, context)
  await ports.failpoint('snapshot.create.before-row')
  const snapshot = insertRows(seat, disks, { context, request })
  try {
    await ports.failpoint('snapshot.create.after-row')
    job.progress('making overlays')
    for (const { successor } of disks) {
      job.signal.throwIfAborted()
      await makeVolumeFile(successor, ports)
      await ports.failpoint('snapshot.create.after-volume-file')
    }
    const switching: SnapshotRecord = { ...snapshot, phase: 'switching' }
    ports.store.snapshots.update(switching)
    await ports.failpoint('snapshot.create.before-switch')
    const goOver = async () =>
      seat.emulator ? await switchLive(seat, seat.emulator, { disks, request, context }) : undefined
    const { pauseMs, memory } = request.memory
      ? await withMemory(seat, snapshot.id, { ports, job, goOver })
      : { pauseMs: await goOver(), memory: undefined }
    await ports.failpoint('snapshot.create.after-switch')
    const who = memory ? 'guest stood' : 'disks waited'
    if (pauseMs !== undefined) job.outcome(`The ${who} for ${pauseMs.toFixed(1)} ms.`)
    job.conclude(request.name, () => {
      writeSwitched({ ...switching, memory }, ports, pauseMs)
      context.emit('snapshot.created', request.name, { vm: seat.record.name, id: snapshot.id })
    })
  } catch (error) {
    await settleAfter(seat, snapshot, context)
    throw error
  }
  await ports.failpoint('snapshot.create.after-ready')
}

/** An emulator that cannot be asked now is asked before the next change of the VM's snapshots, or by recovery. */
async function settleAfter(seat: Seat, snapshot: SnapshotRecord, { ports }: Context): Promise<void> {
  const phase = ports.store.snapshots.get(snapshot.id)?.phase
  if (phase === 'creating') await undoSnapshot(snapshot, ports)
  if (phase !== 'switching') return
  await settleSnapshots(seat, ports).catch((cause: unknown) =>
    ports.log.warn({ vm: seat.record.name, err: cause }, 'whether a snapshot was taken is asked again later'),
  )
}

function planSwitch(seat: Seat, name: string, context: Context): readonly DiskSwitch[] {
  const { ports } = context
  const { record } = seat
  const planned = new Set<string>()
  const disks = record.spec.disks.flatMap((disk): readonly DiskSwitch[] => {
    if (disk.volume === undefined || isReadOnly(disk)) return []
    if (disk.shareable)
      throw new KvasirError(
        'unsupported',
        `Disk ${disk.name} of VM ${record.name} is shareable, and what others write to it is in no snapshot of this VM, so none is taken.`,
        { details: { disk: disk.name } },
      )
    const volume = ports.store.volumes.find(disk.pool, disk.volume)
    if (volume?.phase !== 'ready')
      throw new KvasirError(
        'volume-not-found',
        `Disk ${disk.name} of VM ${record.name} has no volume, so no snapshot is taken.`,
      )
    requireOverlays(disk.name, volume, seat, ports)
    const wish = freeVolumeName({ pool: volume.pool, name: `${volume.name}.${name}` }, ports, planned)
    planned.add(volumeWords({ pool: volume.pool, name: wish }))
    const { file: _, ...plain } = volume
    const successor: VolumeRecord = {
      ...plain,
      id: ports.clock.uuid(),
      name: wish,
      format: 'qcow2',
      baseId: volume.id,
      imageId: undefined,
      phase: 'creating',
      frozen: false,
      madeForVm: record.id,
      createdAt: ports.clock.now(),
    }
    return [{ disk: disk.name, volume, successor }]
  })
  if (disks.length > 0) return disks
  throw new KvasirError(
    'unsupported',
    `VM ${record.name} has no disk that it may write to, so there is nothing to take a snapshot of.`,
  )
}

/** Snapshots are overlays: a pool that has none has no snapshots either. */
function requireOverlays(disk: string, volume: VolumeRecord, { record }: Seat, ports: Ports): void {
  const { formats } = backendOf(volume, ports).capabilities
  if (formats.includes('qcow2')) return
  throw new KvasirError(
    'unsupported',
    `Disk ${disk} of VM ${record.name} lies in pool ${volume.pool}, which has no snapshots, so none is taken of the VM.`,
    { details: { disk, pool: volume.pool } },
  )
}

function insertRows(
  { record }: Seat,
  disks: readonly DiskSwitch[],
  { context, request }: { readonly context: Context; readonly request: SnapshotRequest },
): SnapshotRecord {
  const { store, clock } = context.ports
  const snapshot: SnapshotRecord = {
    id: clock.uuid(),
    vmId: record.id,
    name: request.name,
    description: request.description,
    parentId: store.snapshots.ofVm(record.id).find(({ isCurrent }) => isCurrent)?.id,
    createdAt: clock.now(),
    phase: 'creating',
    isCurrent: false,
    quiesced: request.quiesce && record.life.state === 'running',
    pauseMs: undefined,
    wantsMemory: request.memory,
    memory: undefined,
    spec: record.spec,
    layers: disks.map(({ disk, volume, successor }) => ({
      disk,
      volumeId: volume.id,
      successorId: successor.id,
    })),
  }
  store.transaction(() => {
    store.snapshots.insert(snapshot)
    for (const { successor } of disks) store.volumes.insert(successor)
  })
  return snapshot
}

/** Lets the emulator go over to the overlays; answers how long the disks waited, in milliseconds. */
async function switchLive(
  seat: Seat,
  emulator: Emulator,
  work: {
    readonly disks: readonly DiskSwitch[]
    readonly request: SnapshotRequest
    readonly context: Context
  },
): Promise<number | undefined> {
  const { request, context } = work
  const overlays = await openOverlays(seat, emulator, work)
  if (overlays.length === 0) return undefined
  const freezes = request.quiesce && seat.record.life.state === 'running'
  request.job.progress(freezes ? 'freezing the guest' : 'switching')
  const startedAt = context.ports.clock.monotonicMs()
  try {
    if (freezes) await emulator.agent.freeze()
    const { waitedMs } = await emulator.blocks.layOver(overlays)
    if (!freezes) return waitedMs
  } finally {
    if (freezes) await thaw(emulator, context.ports)
  }
  return context.ports.clock.monotonicMs() - startedAt
}

/** The overlays of disks that the emulator has: one that waits for the next boot is none of its. */
async function openOverlays(
  seat: Seat,
  emulator: Emulator,
  { disks, context }: { readonly disks: readonly DiskSwitch[]; readonly context: Context },
): Promise<readonly NewOverlay[]> {
  const { ports } = context
  const paths = new Map(disks.map(({ disk, volume }) => [disk, pathOf(volume, ports)]))
  const chains = await emulator.blocks.chains({ disks: [...paths.keys()], files: [...paths.values()] })
  return disks.flatMap(({ disk, successor }) => {
    const spec = seat.record.spec.disks.find(({ name }) => name === disk)
    const top = chains.find((chain) => chain.disk === disk)?.layers[0]
    if (!spec || top === undefined || top.path !== paths.get(disk)) return []
    const path = pathOf(successor, ports)
    return [{ disk, over: top, path, id: successor.id, options: layerOptions(spec, seat.record, ports) }]
  })
}
