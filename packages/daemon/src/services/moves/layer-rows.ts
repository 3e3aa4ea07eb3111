/**
 * What the store says of the layers of snapshots under a disk that moves: a copy of each, in the order in which they lie on each other. They
 * come and go with the copy of the disk itself, in the same transactions (move-rows.ts); until those say so the snapshots have what they
 * had.
 */
import type { VmSpec } from '@kvasir/contract'
import { carriedLayer, type LayersPlace } from '../../model/storage/carried-layer.ts'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { Store, VolumeMove, VolumeRecord } from '../../ports/store.ts'
import { layersIn } from '../pools/layers-place.ts'
import { requirePool, usablePool } from '../pools/usable-pool.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** A copy of a layer. */
export type LayerCopy = VolumeRecord & { readonly move: VolumeMove }

/** The layers that a disk's snapshots are, on whatever branch, and all that they and the disk lie on: each after what it lies on. */
export function layersUnder(
  volume: VolumeRecord,
  { vmId, disk }: Pick<VolumeMove, 'vmId' | 'disk'>,
  store: Store,
): readonly VolumeRecord[] {
  const found = new Map<string, VolumeRecord>()
  const add = (id: string) => {
    const layer = store.volumes.get(id)
    if (!layer || found.has(id)) return
    if (layer.baseId !== undefined) add(layer.baseId)
    found.set(id, layer)
  }
  add(volume.id)
  for (const { layers } of store.snapshots.ofVm(vmId))
    for (const layer of layers) if (layer.disk === disk) add(layer.volumeId)
  found.delete(volume.id)
  return [...found.values()]
}

/** The copies of the layers under a copy of a disk, each after what it lies on. */
export function layerCopiesOf(copyId: string, store: Store): readonly LayerCopy[] {
  const copies = store.volumes
    .list()
    .flatMap((row) => (row.move?.layerOf === copyId ? [{ ...row, move: row.move }] : []))
  const ordered = new Map<string, LayerCopy>()
  const add = (copy: LayerCopy) => {
    const base = copies.find(({ id }) => id === (copy.baseId ?? copy.move.clonesId))
    if (base && !ordered.has(base.id)) add(base)
    ordered.set(copy.id, copy)
  }
  for (const copy of copies) if (!ordered.has(copy.id)) add(copy)
  return [...ordered.values()]
}

/** The ids of what a disk leaves that goes over to a copy, each before what it lies on. */
export function leftBy(copy: LayerCopy, store: Store): readonly string[] {
  return [
    copy.move.fromId,
    ...layerCopiesOf(copy.id, store)
      .map(({ move }) => move.fromId)
      .toReversed(),
  ]
}

/** The rows of copies of layers, each after what it lies on; the last is that of the disk itself, which is planned to lie on nothing. */
export function newLayerCopies(
  layers: readonly VolumeRecord[],
  {
    flat,
    volume,
    into,
  }: {
    readonly flat: LayerCopy
    readonly volume: VolumeRecord
    /** What is there already, and takes the lowest layer in. */
    readonly into: VolumeRecord | undefined
  },
  ports: Ports,
): readonly LayerCopy[] {
  const { clock } = ports
  const { pool, move } = flat
  const place = layersPlace(pool, ports)
  const planned = new Set<string>()
  const ids = new Map<string, string>()
  const copies: LayerCopy[] = []
  const { vmId, disk } = move
  for (const layer of layers) {
    if (into && layer.baseId === undefined) {
      const own = { vmId, disk, fromId: layer.id, keep: false, layerOf: flat.id, into: true }
      ids.set(layer.id, into.id)
      copies.push({ ...into, work: 'filled', move: own })
      continue
    }
    const name = freeVolumeName({ pool, name: layer.name }, ports, planned)
    planned.add(volumeWords({ pool, name }))
    const row: LayerCopy = {
      ...flat,
      id: clock.uuid(),
      name,
      capacityBytes: layer.capacityBytes,
      encryption: layer.encryption,
      frozen: layer.frozen,
      move: { vmId, disk, fromId: layer.id, keep: false, layerOf: flat.id },
    }
    ids.set(layer.id, row.id)
    copies.push(placed(row, { layer, place, ids }))
  }
  const top = volume.baseId === undefined ? flat : placed(flat, { layer: volume, place, ids })
  return [...copies, top]
}

/** A row of a copy as what the layer becomes in its pool. */
function placed(
  row: LayerCopy,
  {
    layer,
    place,
    ids,
  }: {
    readonly layer: VolumeRecord
    readonly place: LayersPlace
    /** From a layer to its copy. */
    readonly ids: ReadonlyMap<string, string>
  },
): LayerCopy {
  const { format, liesIn, keepsImage, on } = carriedLayer(layer, place)
  const below = layer.baseId === undefined ? undefined : ids.get(layer.baseId)
  return {
    ...row,
    format,
    ...(liesIn === undefined ? {} : { liesIn }),
    imageId: keepsImage ? layer.imageId : undefined,
    baseId: on === 'overlay' ? below : undefined,
    move: on === 'clone' ? { ...row.move, clonesId: below } : row.move,
  }
}

/** What a pool does for snapshots. */
export function layersPlace(name: string, ports: Pick<Ports, 'pools' | 'store'>): LayersPlace {
  if (usablePool(name, ports).capabilities.nativeSnapshots) return { kind: 'native' }
  const liesIn = layersIn(requirePool(name, ports), ports)
  return liesIn === undefined ? { kind: 'files' } : { kind: 'ground', liesIn }
}

/** The row of what a copy has below it, whether it lies on that or is made as a clone of it. */
export function belowCopy({ baseId, move }: LayerCopy, store: Store): VolumeRecord | undefined {
  const id = baseId ?? move.clonesId
  return id === undefined ? undefined : store.volumes.get(id)
}

/** The row of a copy as what makes and removes volumes takes it. */
export function asVolume(copy: LayerCopy): VolumeRecord {
  const { move, ...row } = copy
  return { ...row, baseId: row.baseId ?? move.clonesId }
}

/** The volume that was there before, into which the lowest layer under a copy goes. */
export function filledUnder(copyId: string, store: Store): LayerCopy | undefined {
  return layerCopiesOf(copyId, store).find(({ move }) => move.into)
}

/** Whether a copy becomes what it is in rows: one that was there before is held by its work. */
function asSwitched(row: LayerCopy): LayerCopy {
  const { work: _, ...free } = row
  return row.move.into ? { ...free, frozen: true } : { ...row, phase: 'ready' }
}

function asGivenUp(row: LayerCopy): LayerCopy {
  return row.move.into ? { ...row, work: 'filled', frozen: false } : { ...row, phase: 'deleting' }
}

/** The disk is on its copy, of this name: the snapshots have the copies of their layers. Part of a transaction. */
export function writeLayersSwitched(copy: LayerCopy, name: string, store: Store): void {
  const copies = layerCopiesOf(copy.id, store)
  for (const one of copies) store.volumes.update(asSwitched(one))
  const to = new Map(copies.map(({ id, move }) => [move.fromId, id]))
  const [former] = copies.flatMap(({ move }) => store.volumes.get(move.fromId) ?? [])
  if (former) remap({ copy, to, from: former.pool, place: { pool: copy.pool, name } }, store)
}

/** The disk is not on its copy after all, but on one of this name: the snapshots have what they had, and the copies are to go. Part of a transaction. */
export function writeLayersBack(copy: LayerCopy, name: string, store: Store): void {
  const copies = layerCopiesOf(copy.id, store)
  for (const one of copies) store.volumes.update(asGivenUp(one))
  const to = new Map(copies.map(({ id, move }) => [id, move.fromId]))
  const [former] = copies.flatMap(({ move }) => store.volumes.get(move.fromId) ?? [])
  if (former) remap({ copy, to, from: copy.pool, place: { pool: former.pool, name } }, store)
}

interface Remap {
  readonly copy: LayerCopy
  /** From the id of a volume to that of the one in its place. */
  readonly to: ReadonlyMap<string, string>
  /** The pool that the disk leaves. */
  readonly from: string
  /** Where its volume is then. */
  readonly place: { readonly pool: string; readonly name: string }
}

function remap({ copy: { move }, to, from, place }: Remap, store: Store): void {
  const moved = (spec: VmSpec): VmSpec => ({
    ...spec,
    disks: spec.disks.map((disk) =>
      disk.name === move.disk && disk.pool === from
        ? { ...disk, pool: place.pool, volume: place.name }
        : disk,
    ),
  })
  for (const snapshot of store.snapshots.ofVm(move.vmId)) {
    if (!snapshot.layers.some(({ volumeId }) => to.has(volumeId))) continue
    const { memory, spec, layers } = snapshot
    const next: SnapshotRecord = {
      ...snapshot,
      spec: moved(spec),
      layers: layers.map((layer) => ({ ...layer, volumeId: to.get(layer.volumeId) ?? layer.volumeId })),
      memory: memory?.booted
        ? { ...memory, booted: { ...memory.booted, spec: moved(memory.booted.spec) } }
        : memory,
    }
    store.snapshots.update(next)
  }
}
