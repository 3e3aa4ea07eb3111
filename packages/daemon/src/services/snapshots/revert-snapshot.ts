/**
 * Brings the disks of a VM back to a snapshot: each gets a new overlay on the snapshot's layer, in the place of what it was on.
 *
 *     rows and files of the overlays ─▶ end the emulator, to be started again ─▶ row: on the overlays ─▶ the former volumes go ─▶ start
 *
 * Until the row says so the VM is on its former disks, whatever breaks this off.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { layersIn } from '../pools/layers-place.ts'
import { requirePool, usablePlace } from '../pools/usable-pool.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { endEmulator } from '../vms/end-emulator.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { restartVm } from '../vms/start-vm.ts'
import { askPoolsOf } from '../volumes/ask-pools.ts'
import { discardVolume, makeVolumeFile } from '../volumes/volume-files.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { requireSettled, requireSnapshot } from './find-snapshot.ts'
import { settleSnapshots } from './settle-snapshots.ts'
import { makeCurrent } from './switch-layers.ts'

export interface RevertRequest {
  readonly name: string
  /** The former volumes stay, under names of their own. */
  readonly keep: boolean
  readonly job: JobHandle
}

interface DiskRevert {
  readonly former: VolumeRecord
  readonly layer: VolumeRecord
  /** The overlay, under a passing name. */
  readonly fresh: VolumeRecord
}

/** Brings a VM back to a snapshot; one that runs is started again. */
export async function revertSnapshot(
  driver: Driver,
  context: Context,
  request: RevertRequest,
): Promise<void> {
  const { job } = request
  try {
    await driver.take('revert', (seat) => revert(seat, context, request), { jobId: job.id })
  } finally {
    if (driver.view().record.intent === 'restart') {
      job.progress('starting the VM')
      await restartVm(driver, context, {
        jobId: job.id,
        signal: job.signal,
        onStep: (step) => job.progress(step),
      })
    }
  }
}

async function revert(seat: Seat, context: Context, request: RevertRequest): Promise<void> {
  const { ports } = context
  const { store } = ports
  await settleSnapshots(seat, ports)
  const snapshot = requireSnapshot(seat.record, request.name, ports)
  requireSettled(seat.record, ports)
  const disks = planRevert(seat, snapshot, context)
  await askPoolsOf(
    disks.map(({ layer }) => layer),
    ports,
  )
  await ports.failpoint('snapshot.revert.before-row')
  store.transaction(() => {
    for (const { fresh } of disks) store.volumes.insert(fresh)
  })
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => {
    for (const { fresh } of disks) {
      await discardVolume(fresh, ports)
    }
  })
  await ports.failpoint('snapshot.revert.after-row')
  const made: DiskRevert[] = []
  for (const disk of disks) {
    made.push({ ...disk, fresh: await makeVolumeFile(disk.fresh, ports) })
    await ports.failpoint('snapshot.revert.after-volume-file')
  }
  const reason = `its disks are those of snapshot ${snapshot.name}`
  if (!isOff(seat.record)) {
    request.job.progress('ending the emulator')
    await endEmulator(seat, ports, { state: 'shutoff', reason, restarts: true })
  }
  const formerNvram = seat.record.nvram
  const nvram = await nvramOf(seat, snapshot, ports)
  if (nvram) undo.defer(() => ports.files.removeNvram(nvram.id))
  await ports.failpoint('snapshot.revert.before-switch')
  if (snapshot.memory) await ports.files.lendMemory(snapshot.id, seat.record.id)
  writeReverted(seat, { snapshot, disks: made, nvram, reason, keep: request.keep }, context)
  undo.move()
  try {
    await ports.failpoint('snapshot.revert.after-switch')
  } finally {
    if (!snapshot.memory) await ports.files.removeSave(seat.record.id)
    if (formerNvram) await ports.files.removeNvram(formerNvram.id)
    if (!request.keep)
      for (const { former } of disks) {
        const going = store.volumes.get(former.id)
        if (going) await removeVolume(going, context)
      }
  }
}

function planRevert(seat: Seat, snapshot: SnapshotRecord, context: Context): readonly DiskRevert[] {
  const { store, clock } = context.ports
  const { record } = seat
  const planned = new Set<string>()
  return snapshot.layers.map(({ disk, volumeId }) => {
    const now = record.spec.disks.find((candidate) => candidate.name === disk)
    const former = now?.volume === undefined ? undefined : store.volumes.find(now.pool, now.volume)
    const layer = store.volumes.get(volumeId)
    if (!former || !layer)
      throw new KvasirError(
        'plan-refused',
        `VM ${record.name} has no disk ${disk} any more, which snapshot ${snapshot.name} has, so it is not brought back to it.`,
        { details: { disk } },
      )
    if (layer.pool !== former.pool)
      throw new KvasirError(
        'plan-refused',
        `Disk ${disk} of VM ${record.name} went to pool ${former.pool} since, and snapshot ${snapshot.name} of it lies in ${layer.pool}, so it is not brought back to it.`,
        { details: { disk } },
      )
    const { nativeSnapshots } = usablePlace(layer, context.ports).capabilities
    const liesIn = layersIn(requirePool(former.pool, context.ports), context.ports)
    const passing = freeVolumeName(
      { pool: former.pool, name: `${former.name}.${snapshot.name}` },
      context.ports,
      planned,
    )
    planned.add(volumeWords({ pool: former.pool, name: passing }))
    const { file: _, liesIn: __, ...plain } = former
    const fresh: VolumeRecord = {
      ...plain,
      ...(liesIn === undefined ? {} : { liesIn }),
      id: clock.uuid(),
      name: passing,
      format: nativeSnapshots ? layer.format : 'qcow2',
      capacityBytes: layer.capacityBytes,
      baseId: layer.id,
      imageId: undefined,
      phase: 'creating',
      frozen: false,
      madeForVm: record.id,
      createdAt: clock.now(),
    }
    return { former, layer, fresh }
  })
}

/** A copy of the snapshot's UEFI variables; undefined where it has none: they are made anew then, at the next start. */
async function nvramOf(seat: Seat, { nvramId }: SnapshotRecord, ports: Ports): Promise<VmRecord['nvram']> {
  const { nvram } = seat.record
  if (nvramId === undefined || !nvram) return undefined
  const id = ports.clock.uuid()
  await ports.files.copyNvram(nvramId, id)
  return { ...nvram, id }
}

/** In one transaction: the disks are on the overlays, and the former volumes are on their way out or have names of their own. */
function writeReverted(
  seat: Seat,
  done: {
    readonly snapshot: SnapshotRecord
    readonly disks: readonly DiskRevert[]
    readonly nvram: VmRecord['nvram']
    readonly reason: string
    readonly keep: boolean
  },
  context: Context,
): void {
  const { store } = context.ports
  const { snapshot, disks, nvram, reason, keep } = done
  const { life } = seat.record
  const without = life.state === 'saved' ? 'shutoff' : life.state
  const state = snapshot.memory ? 'saved' : without
  seat.update({ saved: snapshot.memory, nvram, life: seat.life(state, reason) }, () => {
    for (const { former, fresh } of disks) {
      const holding = `${fresh.name}.${fresh.id.slice(0, 8)}`.slice(-63)
      store.volumes.update({ ...fresh, name: holding })
      const phase = keep ? 'ready' : 'deleting'
      store.volumes.update({ ...former, name: fresh.name, phase, madeForVm: undefined })
      store.volumes.update({ ...fresh, name: former.name, phase: 'ready', madeForVm: former.madeForVm })
    }
    makeCurrent(snapshot, store)
    context.emit('snapshot.reverted', snapshot.name, { vm: seat.record.name, id: snapshot.id })
  })
}
