/**
 * A layer that sinks into the LUN or logical volume under it, on which the disk is then again.
 *
 *     row: sinks ─▶ copied down ─▶ (of a disk's top: held) ─▶ row: the disk is on the volume ─▶ the emulator goes over ─▶ the layer goes
 *
 * Until the second row the layer lies on top and hides what was written to the volume, so whatever dies, all of it is begun again and comes
 * to the same. After it the volume has everything. Only an emulator that lives and did not go over outranks the row, which is taken back.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { EmulatorSinks, Sink } from '../../ports/emulator-sinks.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotLayer } from '../../ports/snapshot-record.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import { placeName, usablePlace } from '../pools/usable-pool.ts'
import { groundOf, sourceOf } from '../volumes/volume-files.ts'
import { layerOptions } from './layer-options.ts'
import { hasOpen, type MergeWork } from './merge-layer.ts'

/** A layer and the volume that it goes into. */
export interface LayerSink {
  readonly disk: string
  readonly from: VolumeRecord
  readonly into: VolumeRecord
  readonly snapshotId: string
}

/** Copies down in the emulator, where it has both open, without the VM's seat. `emulator-unresponsive` when it ends meanwhile. */
export async function sinkLive(driver: Driver, layer: LayerSink, work: MergeWork): Promise<void> {
  const { ports, signal } = work
  const { emulator, record } = driver.view()
  writeBegun(layer, ports)
  await ports.failpoint('snapshot.sink.after-begun-row')
  if (!emulator || !(await hasOpen(emulator, { disk: layer.disk, into: layer.from }, ports))) return
  const sink = sinkOf(layer, record, ports)
  if (!sink) return
  const { sinks } = emulator.blocks
  const state = await sinks.state(sink)
  if (state === 'held' || state === 'over') return
  if (state === 'absent') {
    await makeRoom(layer, ports)
    await sinks.begin(sink)
    await ports.failpoint('snapshot.sink.after-begin')
  }
  await sinks.follow(sink, { onProgress: async (progress) => work.onProgress(fractionOf(progress)), signal })
}

/** Ends it, with the seat; false when the emulator has to do its part first, or again. */
export async function finishSink(seat: Seat, layer: LayerSink, work: MergeWork): Promise<boolean> {
  const { ports } = work
  const { emulator, record } = seat
  const sink = sinkOf(layer, record, ports)
  if (emulator && sink && (await hasOpen(emulator, { disk: layer.disk, into: layer.into }, ports)))
    return await goOver(emulator.blocks.sinks, { layer, sink }, work)
  if (emulator === undefined && !isOff(record)) return false
  if (isWritten(layer, ports)) return true
  await makeRoom(layer, ports)
  const { onProgress, signal } = work
  const into = sourceOf(layer.into, ports)
  const pool = usablePlace(layer.from, ports)
  if (!pool.sink)
    throw new KvasirError('internal', `A layer lies in pool ${placeName(layer.from)}, which has none.`)
  await pool.sink(layer.from, { into }, { onProgress, signal: AbortSignal.any([seat.signal, signal]) })
  await ports.failpoint('snapshot.sink.after-copy')
  for (const child of ports.store.volumes.list())
    if (child.baseId === layer.from.id) await usablePlace(child, ports).nameBase?.(child, into)
  writeSunk(layer, ports)
  return true
}

async function goOver(
  sinks: EmulatorSinks,
  { layer, sink }: { readonly layer: LayerSink; readonly sink: Sink },
  { ports, signal }: MergeWork,
): Promise<boolean> {
  const state = await sinks.state(sink)
  if (isWritten(layer, ports)) {
    if (state === 'over' || state === 'held') await sinks.finish(sink)
    else writeBack(layer, ports)
    return state === 'over' || state === 'held'
  }
  if (state === 'absent') return false
  await ports.failpoint('snapshot.sink.before-hold')
  if (state === 'sinking') await sinks.hold(sink, { onProgress: async () => {}, signal })
  await ports.failpoint('snapshot.sink.after-hold')
  writeSunk(layer, ports)
  await ports.failpoint('snapshot.sink.after-row-switch')
  if (state !== 'over') await sinks.finish(sink)
  await ports.failpoint('snapshot.sink.after-finish')
  return true
}

/** What the emulator is told. */
function sinkOf({ disk, from, into }: LayerSink, record: VmRecord, ports: Ports): Sink | undefined {
  const spec = (record.run?.bootedSpec ?? record.spec).disks.find(({ name }) => name === disk)
  if (!spec) return undefined
  const options = layerOptions({ disk: spec, volume: into }, record, ports)
  return {
    disk,
    id: from.id,
    layer: groundOf(from, ports),
    into: { id: into.id, source: sourceOf(into, ports), options },
  }
}

/** The disk may have grown since. */
async function makeRoom({ from, into }: LayerSink, ports: Ports): Promise<void> {
  if (from.capacityBytes > into.capacityBytes) await usablePlace(into, ports).resize(into, from.capacityBytes)
}

function fractionOf({ copiedBytes, totalBytes }: { copiedBytes: number; totalBytes: number }): number {
  return totalBytes === 0 ? 1 : copiedBytes / totalBytes
}

/** From here on the snapshot can only be deleted. */
function writeBegun(layer: LayerSink, ports: Ports): void {
  changeLayer(layer, (one) => ({ ...one, sinks: true }), ports)
}

function isWritten({ snapshotId, into, from }: LayerSink, { store }: Ports): boolean {
  const layers = store.snapshots.get(snapshotId)?.layers ?? []
  return layers.some(({ volumeId, sunkId }) => volumeId === into.id && sunkId === from.id)
}

/** The volume takes the place of the layer: its name, and what lies on it. */
function writeSunk(layer: LayerSink, ports: Ports): void {
  const { store } = ports
  const { from, into } = layer
  store.transaction(() => {
    const children = store.volumes.list().filter(({ baseId }) => baseId === from.id)
    exchange({ leaving: from, coming: { ...into, capacityBytes: largest(from, into) } }, ports)
    for (const child of children) store.volumes.update({ ...child, baseId: into.id })
    for (const snapshot of store.snapshots.list()) {
      if (snapshot.id === layer.snapshotId || !snapshot.layers.some(({ volumeId }) => volumeId === from.id))
        continue
      const layers = snapshot.layers.map((one) =>
        one.volumeId === from.id ? { ...one, volumeId: into.id } : one,
      )
      store.snapshots.update({ ...snapshot, layers })
    }
    changeLayer(layer, (one) => ({ ...one, sunkId: from.id }), ports)
  })
}

/** The disk's top did not go over: it is on the layer, as before. */
function writeBack(layer: LayerSink, ports: Ports): void {
  const { store } = ports
  const [from, into] = [store.volumes.get(layer.from.id), store.volumes.get(layer.into.id)]
  if (!from || !into) return
  store.transaction(() => {
    exchange({ leaving: into, coming: from }, ports)
    store.volumes.update({ ...into, name: from.name, frozen: true, madeForVm: undefined })
    changeLayer(layer, (one) => ({ ...one, sunkId: undefined }), ports)
  })
}

/** Gives one volume the name and the place of another one. Part of a transaction. */
function exchange(
  { leaving, coming }: { readonly leaving: VolumeRecord; readonly coming: VolumeRecord },
  { store }: Ports,
): void {
  const holding = `${coming.name}.${leaving.id.slice(0, 8)}`.slice(-63)
  store.volumes.update({ ...leaving, name: holding, frozen: false, madeForVm: undefined })
  store.volumes.update({
    ...coming,
    name: leaving.name,
    frozen: leaving.frozen,
    madeForVm: leaving.madeForVm,
  })
  store.volumes.update({ ...leaving, name: coming.name, frozen: false, madeForVm: undefined })
}

function largest(...volumes: readonly VolumeRecord[]): number {
  return Math.max(...volumes.map(({ capacityBytes }) => capacityBytes))
}

function changeLayer(
  { snapshotId, into }: LayerSink,
  change: (layer: SnapshotLayer) => SnapshotLayer,
  { store }: Ports,
): void {
  const snapshot = store.snapshots.get(snapshotId)
  if (!snapshot) return
  const layers = snapshot.layers.map((one) => (one.volumeId === into.id ? change(one) : one))
  store.snapshots.update({ ...snapshot, layers })
}
