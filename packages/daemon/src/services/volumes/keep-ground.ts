/**
 * The LUN under layers that go with the volume that a disk has left: it can be made by nobody here, so it stays, as a free volume. Without
 * this it would be forgotten with the last layer, like any base that nobody needs.
 */
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { backendOf } from '../pools/usable-pool.ts'

/** Frees what a volume lies on that is about to be removed, where that was given by others and nobody else needs it. Part of a transaction. */
export function keepGround(going: VolumeRecord, ports: Ports): void {
  const { store } = ports
  let at = going
  while (at.baseId !== undefined) {
    const base = store.volumes.get(at.baseId)
    if (!base?.frozen) return
    const isNamed = store.snapshots
      .list()
      .some(({ layers }) => layers.some(({ volumeId }) => volumeId === base.id))
    const children = store.volumes.list().filter((other) => other.baseId === base.id)
    if (isNamed || children.some(({ id }) => id !== at.id)) return
    at = base
  }
  if (at.id !== going.id && backendOf(at, ports).isSizedByOthers)
    store.volumes.update({ ...at, frozen: false })
}
