/** Which layers a deletion has to do with, and in which order. */
import { basesOf, leftLayers } from '../../model/storage/left-layers.ts'
import type { SnapshotLayer, SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { Store, VmRecord } from '../../ports/store.ts'

/**
 * The layers of a snapshot, and those under the VM's disks that former deletions had to leave and that no snapshot names. What lies on
 * most others comes first, so that what is below it has only one to take it in, or to go into it, when it is its turn.
 */
export function layersToDrop(
  snapshot: SnapshotRecord,
  { spec }: VmRecord,
  store: Store,
): readonly SnapshotLayer[] {
  const find = (id: string) => store.volumes.get(id)
  const named = new Set(store.snapshots.list().flatMap(({ layers }) => layers.map((one) => one.volumeId)))
  const left = spec.disks.flatMap(({ name, pool, volume }): readonly SnapshotLayer[] => {
    const top = volume === undefined ? undefined : store.volumes.find(pool, volume)
    return top === undefined
      ? []
      : leftLayers(top, find, named).map(({ id }) => ({ disk: name, volumeId: id }))
  })
  const depthOf = ({ volumeId }: SnapshotLayer) => {
    const volume = find(volumeId)
    return volume === undefined ? 0 : basesOf(volume, find).length
  }
  return [...snapshot.layers, ...left]
    .map((layer) => ({ layer, depth: depthOf(layer) }))
    .sort((one, other) => other.depth - one.depth)
    .map(({ layer }) => layer)
}
