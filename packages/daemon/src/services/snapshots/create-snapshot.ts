/**
 * Takes a snapshot of all disks of a VM at one instant.
 *
 *     row `creating` ─▶ overlay files ─▶ row `switching` ─▶ (the guest freezes) ─▶ clones, and the emulator goes over ─▶ row `ready`
 *
 * From `switching` on only the emulator knows; whatever breaks this off, settle-snapshots.ts goes by what it says.
 */
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { Context } from '../context.ts'
import { requireNo3d } from '../host/graphics.ts'
import { requireNoHostDevices } from '../host/host-devices.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { requireNoShares } from '../vms/shares.ts'
import { makeVolumeFile } from '../volumes/volume-files.ts'
import { requireSettled } from './find-snapshot.ts'
import { beginFlush } from './flush-ahead.ts'
import { type DiskSwitch, planSwitch } from './plan-switch.ts'
import { settleSnapshots } from './settle-snapshots.ts'
import { requireMemory, withMemory } from './snapshot-memory.ts'
import { undoSnapshot, writeSwitched } from './switch-layers.ts'
import { takeOver } from './take-over.ts'

export interface SnapshotRequest {
  readonly name: string
  readonly description: string
  readonly quiesce: boolean
  /** The guest's memory too. */
  readonly memory: boolean
  readonly job: JobHandle
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
  if (request.memory) requireNoHostDevices(seat.record, 'kept')
  if (request.memory) requireNoShares(seat.record, 'kept')
  if (request.memory) requireNo3d(seat.record, 'kept')
  if (request.memory) requireMemory(seat)
  const disks = planSwitch(seat, request.name, ports)
  await ports.failpoint('snapshot.create.before-row')
  const flushed = beginFlush(seat, disks, { ports, signal: job.signal })
  const snapshot = insertRows(seat, disks, { context, request })
  try {
    await ports.failpoint('snapshot.create.after-row')
    job.progress('making overlays')
    for (const disk of disks) {
      job.signal.throwIfAborted()
      if (disk.kind === 'copy') continue // Made when the moment has come.
      await makeVolumeFile(disk.successor, ports)
      await ports.failpoint('snapshot.create.after-volume-file')
    }
    const switching: SnapshotRecord = { ...snapshot, phase: 'switching' }
    ports.store.snapshots.update(switching)
    await ports.failpoint('snapshot.create.before-switch')
    const goOver = () => takeOver(seat, { disks, nvramId: snapshot.nvramId, flushed, request, context })
    const { pauseMs, memory } = request.memory
      ? await withMemory(seat, snapshot.id, { ports, job, goOver })
      : { pauseMs: await goOver(), memory: undefined }
    await ports.failpoint('snapshot.create.after-switch')
    const who = memory ? 'guest stood' : 'disks waited'
    const said = [
      ...(pauseMs === undefined ? [] : [`The ${who} for ${pauseMs.toFixed(1)} ms.`]),
      ...elsewhere(disks),
    ]
    if (said.length > 0) job.outcome(said.join(' '))
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

/** Where layers lie that are not beside what they are layers of. */
function elsewhere(disks: readonly DiskSwitch[]): readonly string[] {
  return disks.flatMap((disk) =>
    disk.kind === 'overlay' && disk.successor.liesIn !== undefined
      ? [`Disk ${disk.disk} goes on in a layer in pool ${disk.successor.liesIn}.`]
      : [],
  )
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
    ...(record.nvram ? { nvramId: clock.uuid() } : {}),
    spec: record.spec,
    layers: disks.map((one) => ({
      disk: one.disk,
      volumeId: one.volume.id,
      ...(one.kind === 'overlay' ? { successorId: one.successor.id } : { copyId: one.copy.id }),
    })),
  }
  store.transaction(() => {
    store.snapshots.insert(snapshot)
    for (const one of disks) store.volumes.insert(one.kind === 'overlay' ? one.successor : one.copy)
  })
  return snapshot
}
