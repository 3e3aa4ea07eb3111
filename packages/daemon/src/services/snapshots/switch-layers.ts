/**
 * The step by which a snapshot becomes one: each disk's volume is a layer that nobody writes to any more, and an overlay of it has taken
 * its name. The files are there before, and with a running VM its emulator writes to the overlays already; this is what the store says.
 *
 * Not here: how the files are made (create-snapshot.ts).
 */
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { Store, VolumeRecord } from '../../ports/store.ts'
import { backendOf } from '../pools/usable-pool.ts'
import { removeVolumeFile } from '../volumes/volume-files.ts'

/** Exchanges a volume with its successor, which lies on it: the successor gets its name, and the volume is frozen. */
export function exchangeNames(store: Store, volume: VolumeRecord, successor: VolumeRecord): void {
  const holding = `${successor.name}.${successor.id.slice(0, 8)}`.slice(-63)
  store.volumes.update({ ...successor, name: holding })
  store.volumes.update({ ...volume, name: successor.name, frozen: true, madeForVm: undefined })
  store.volumes.update({ ...successor, name: volume.name, phase: 'ready', madeForVm: volume.madeForVm })
}

/** Writes, in one transaction, that a snapshot is ready and the place that its VM is at. One whose memory was not saved is to go again. */
export function writeSwitched(snapshot: SnapshotRecord, ports: Ports, pauseMs: number | undefined): void {
  const { store } = ports
  store.transaction(() => {
    for (const { volumeId, successorId, copyId } of snapshot.layers) {
      const copy = copyId === undefined ? undefined : store.volumes.get(copyId)
      if (copy)
        store.volumes.update({
          ...copy,
          phase: 'ready',
          frozen: true,
          baseId: undefined,
          madeForVm: undefined,
        })
      const volume = store.volumes.get(volumeId)
      const successor = successorId === undefined ? undefined : store.volumes.get(successorId)
      if (volume && successor) exchangeNames(store, volume, successor)
    }
    const layers = snapshot.layers.map(({ disk, volumeId, copyId }) => ({
      disk,
      volumeId: copyId ?? volumeId,
    }))
    const phase = snapshot.wantsMemory && !snapshot.memory ? 'deleting' : 'ready'
    makeCurrent({ ...snapshot, layers, pauseMs, phase }, store)
  })
}

/** The disks of the VM are what came after this snapshot, and after no other. Part of a transaction. */
export function makeCurrent(snapshot: SnapshotRecord, store: Store): void {
  for (const other of store.snapshots.ofVm(snapshot.vmId))
    if (other.isCurrent && other.id !== snapshot.id) store.snapshots.update({ ...other, isCurrent: false })
  store.snapshots.update({ ...snapshot, isCurrent: true })
}

/** Removes a snapshot that did not come to be, with its overlays and clones. Safe to repeat. */
export async function undoSnapshot(snapshot: SnapshotRecord, ports: Ports): Promise<void> {
  const { store } = ports
  const successors = snapshot.layers.flatMap(({ successorId, copyId }) => successorId ?? copyId ?? [])
  for (const id of successors) {
    const row = store.volumes.get(id)
    if (row) await removeVolumeFile(row, ports)
  }
  if (snapshot.nvramId !== undefined) await ports.files.removeNvram(snapshot.nvramId)
  for (const one of copiesOf(snapshot, ports)) await backendOf(one.copy, ports).moments?.letGo(one)
  store.transaction(() => {
    for (const id of successors) store.volumes.remove(id)
    store.snapshots.remove(snapshot.id)
  })
}

/** A disk's volume and the clone of it that becomes a layer, by their rows. */
export interface RecordedCopy {
  readonly origin: VolumeRecord
  readonly copy: VolumeRecord
}

/** The clones of a snapshot that is being made. */
export function copiesOf({ layers }: SnapshotRecord, { store }: Ports): readonly RecordedCopy[] {
  return layers.flatMap(({ volumeId, copyId = '' }) => {
    const [origin, copy] = [store.volumes.get(volumeId), store.volumes.get(copyId)]
    return origin && copy ? [{ origin, copy }] : []
  })
}
