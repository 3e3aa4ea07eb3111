/**
 * Deletes a snapshot: what its layers hold and others need goes into the layers above them.
 *
 *     row `deleting` ─▶ for each layer, the highest first: merged into the one above it, removed, or left as a base ─▶ the row goes
 *
 * A merge of a running VM is a job of its emulator, during which the VM's seat is free. When the emulator ends, the merge goes on
 * without it. A layer goes out of the store only after what took it in was flushed.
 */
import { KvasirError } from '@kvasir/contract'
import { layerFate } from '../../model/storage/layer-fate.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { SnapshotLayer, SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { Store, VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { askPoolsOf } from '../volumes/ask-pools.ts'
import { requireSettled, requireSnapshot } from './find-snapshot.ts'
import { layersToDrop } from './layers-to-drop.ts'
import { hasOpen, mergeLive, mergeOffline } from './merge-layer.ts'
import { settleSnapshots } from './settle-snapshots.ts'
import { finishSink, sinkLive } from './sink-layer.ts'
import { makeCurrent } from './switch-layers.ts'
import { takePatiently } from './take-patiently.ts'

export interface DeleteSnapshotRequest {
  readonly name: string
  readonly job: JobHandle
}

/** Deletes a snapshot, or goes on with a deletion that was broken off. */
export async function deleteSnapshot(
  driver: Driver,
  context: Context,
  { name, job }: DeleteSnapshotRequest,
): Promise<void> {
  const { ports } = context
  const { former, layers } = await driver.take(
    'merge',
    async (seat) => {
      await settleSnapshots(seat, ports)
      const found = requireSnapshot(seat.record, name, ports)
      requireSettled(seat.record, ports, found.id)
      const layers = layersToDrop(found, seat.record, ports.store)
      await askPoolsOf(
        layers.flatMap(({ volumeId }) => ports.store.volumes.get(volumeId) ?? []),
        ports,
      )
      await ports.failpoint('snapshot.delete.before-phase')
      ports.store.snapshots.update({ ...found, layers, phase: 'deleting' })
      return { former: found, layers }
    },
    { jobId: job.id },
  )
  try {
    await ports.failpoint('snapshot.delete.after-phase')
    for (const [index, layer] of layers.entries())
      await dropLayer(driver, layer, {
        context,
        job,
        snapshotId: former.id,
        onProgress: (fraction) =>
          job.progress(`merging disk ${layer.disk}`, (index + fraction) / layers.length),
      })
  } catch (error) {
    returnToReady(former, ports.store)
    throw error
  }
  await takePatiently(driver, 'edit', (seat) => removeRow(seat, former.id, { context, job }), {
    ...ports,
    ...job,
    jobId: job.id,
  })
  try {
    await ports.failpoint('snapshot.delete.after-row')
  } finally {
    await ports.files.removeMemory(former.id)
    if (former.nvramId !== undefined) await ports.files.removeNvram(former.nvramId)
  }
}

/** One that has lost no layer yet is as good as before. */
function returnToReady(former: SnapshotRecord, store: Store): void {
  const now = store.snapshots.get(former.id)
  const has = (volumeId: string) => now?.layers.some((layer) => layer.volumeId === volumeId)
  const isWhole =
    former.layers.every(({ volumeId }) => has(volumeId)) && !now?.layers.some(({ sinks }) => sinks)
  if (now && isWhole && former.phase === 'ready')
    store.snapshots.update({ ...now, layers: former.layers, phase: 'ready' })
}

interface Drop {
  readonly context: Context
  readonly job: JobHandle
  readonly snapshotId: string
  readonly onProgress: (fraction: number) => void
}

async function dropLayer(driver: Driver, layer: SnapshotLayer, drop: Drop): Promise<void> {
  const { context, job } = drop
  const { ports } = context
  const patience = { clock: ports.clock, signal: job.signal, jobId: job.id }
  for (;;) {
    job.signal.throwIfAborted()
    try {
      const now = nowOf(layer, { snapshotId: drop.snapshotId, store: ports.store })
      const fate = fateOf(driver.view().record, now, ports.store)
      if (fate.kind === 'sink')
        await sinkLive(
          driver,
          { ...fate, snapshotId: drop.snapshotId },
          { ports, ...drop, signal: job.signal },
        )
      if (fate.kind === 'merge') await mergeLive(driver, fate, { ports, ...drop, signal: job.signal })
      if (await takePatiently(driver, 'merge', (seat) => finishLayer(seat, layer, drop), patience)) return
    } catch (error) {
      // The emulator has ended, which its driver notices soon, or stands still: with or without it, this is tried again.
      const isLost = error instanceof KvasirError && error.code === 'emulator-unresponsive'
      if (!isLost) throw error
    }
    await ports.clock.sleep(againMs, job.signal)
  }
}

const againMs = 100

/** Ends what has to be done about a layer, with the seat; false when the emulator has to do its part first, or again. */
async function finishLayer(seat: Seat, layer: SnapshotLayer, drop: Drop): Promise<boolean> {
  const { context, job, snapshotId } = drop
  const { ports } = context
  const { store } = ports
  const fate = fateOf(seat.record, nowOf(layer, { snapshotId, store }), store)
  const volume = store.volumes.get(layer.volumeId)
  if (fate.kind === 'sink') {
    const work = { ports, onProgress: drop.onProgress, signal: job.signal }
    if (!(await finishSink(seat, { ...fate, snapshotId }, work))) return false
    await dropSunk(layer, fate.from, drop)
    return true
  }
  if (fate.kind === 'merge') {
    if (seat.emulator && (await hasOpen(seat.emulator, fate, ports))) {
      if (await hasOpen(seat.emulator, { ...fate, into: fate.layer }, ports)) return false
    } else {
      const signal = AbortSignal.any([seat.signal, job.signal])
      await mergeOffline(fate, { ports, onProgress: drop.onProgress, signal })
    }
    await ports.failpoint('snapshot.delete.after-merge')
  }
  store.transaction(() => {
    const snapshot = store.snapshots.get(snapshotId)
    if (snapshot) {
      const layers = snapshot.layers.filter(({ volumeId }) => volumeId !== layer.volumeId)
      store.snapshots.update({ ...snapshot, layers })
    }
    if (fate.kind === 'merge') {
      const { baseId, imageId } = fate.layer
      store.volumes.update({ ...fate.into, baseId, imageId })
    }
    if (volume && fate.kind !== 'stay') store.volumes.update({ ...volume, phase: 'deleting' })
  })
  await ports.failpoint('snapshot.delete.after-layer-row')
  if (volume && fate.kind !== 'stay') await removeVolume({ ...volume, phase: 'deleting' }, context)
  return true
}

/** A layer as the row of its snapshot has it now. */
function nowOf(
  layer: SnapshotLayer,
  { snapshotId, store }: { readonly snapshotId: string; readonly store: Store },
): SnapshotLayer {
  const layers = store.snapshots.get(snapshotId)?.layers ?? []
  return layers.find(({ volumeId }) => volumeId === layer.volumeId) ?? layer
}

/** What sank goes; what it sank into stays, and is no layer of this snapshot any more. */
async function dropSunk(
  { volumeId }: SnapshotLayer,
  sunk: VolumeRecord,
  { context, snapshotId }: Drop,
): Promise<void> {
  const { store, failpoint } = context.ports
  const going = store.transaction(() => {
    const snapshot = store.snapshots.get(snapshotId)
    if (snapshot) {
      const layers = snapshot.layers.filter((one) => one.volumeId !== volumeId)
      store.snapshots.update({ ...snapshot, layers })
    }
    const row: VolumeRecord = { ...(store.volumes.get(sunk.id) ?? sunk), phase: 'deleting' }
    store.volumes.update(row)
    return row
  })
  await failpoint('snapshot.delete.after-layer-row')
  await removeVolume(going, context)
}

/** What becomes of a layer, and what lies on it where that matters. */
function fateOf(record: VmRecord, layer: SnapshotLayer, store: Store) {
  const volume = store.volumes.get(layer.volumeId)
  if (!volume) return { kind: 'remove' as const }
  const sunk = layer.sunkId === undefined ? undefined : store.volumes.get(layer.sunkId)
  if (sunk) return { kind: 'sink' as const, from: sunk, into: volume, disk: layer.disk }
  const fate = layerFate(volume, store.volumes.list(), ownVolumes(record, store))
  if (fate.kind === 'sink') return { ...fate, into: volume, disk: layer.disk }
  return fate.kind === 'merge' ? { ...fate, layer: volume, disk: layer.disk } : fate
}

function ownVolumes({ id, spec }: VmRecord, store: Store): ReadonlySet<string> {
  const tops = spec.disks.flatMap(({ pool, volume }): readonly VolumeRecord[] => {
    const found = volume === undefined ? undefined : store.volumes.find(pool, volume)
    return found ? [found] : []
  })
  const layers = store.snapshots.ofVm(id).flatMap((snapshot) => snapshot.layers)
  return new Set([...tops.map((top) => top.id), ...layers.map(({ volumeId }) => volumeId)])
}

/** The children of the snapshot become its parent's. */
async function removeRow(
  seat: Seat,
  id: string,
  { context, job }: { readonly context: Context; readonly job: JobHandle },
): Promise<void> {
  const { store, failpoint } = context.ports
  await failpoint('snapshot.delete.before-row')
  const snapshot = store.snapshots.get(id)
  if (!snapshot) throw new KvasirError('snapshot-not-found', `VM ${seat.record.name} lost the snapshot.`)
  job.conclude(snapshot.name, () => {
    for (const child of store.snapshots.ofVm(snapshot.vmId))
      if (child.parentId === id) store.snapshots.update({ ...child, parentId: snapshot.parentId })
    const parent = snapshot.parentId === undefined ? undefined : store.snapshots.get(snapshot.parentId)
    store.snapshots.remove(id)
    if (snapshot.isCurrent && parent) makeCurrent(parent, store)
    context.emit('snapshot.deleted', snapshot.name, { vm: seat.record.name, id })
  })
}
