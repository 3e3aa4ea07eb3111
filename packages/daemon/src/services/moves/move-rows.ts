/**
 * What the store says of a disk that moves while its VM runs. Each step is one transaction:
 *
 *     copy `creating`, disk on the former volume ─▶ copy `ready`, disk on it ─▶ the former volume goes, or is free
 *                        ▲                                  │
 *                        └─────── (it did not go over) ─────┘
 *
 * A volume that was there before takes the part of the copy too. It has its own name and stays, so its phase is always `ready`: while it is
 * filled its work says so (`stepOf`).
 */
import type { VmSpec } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { Store, VmRecord, VolumeMove, VolumeRecord } from '../../ports/store.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { keepGround } from '../volumes/keep-ground.ts'
import { filledUnder, layerCopiesOf, writeLayersBack, writeLayersSwitched } from './layer-rows.ts'

type VolumeName = Pick<VolumeRecord, 'pool' | 'name'>

/** A volume that a disk is on its way to. */
export type CopyRecord = VolumeRecord & { readonly move: VolumeMove }

/** The row of a copy that a disk is to be made of. */
export function newCopy(
  volume: VolumeRecord,
  planned: Pick<VolumeRecord, 'name' | 'pool' | 'format'> & { readonly move: Omit<VolumeMove, 'fromId'> },
  { clock }: Pick<Ports, 'clock'>,
): CopyRecord {
  const { move, ...place } = planned
  return {
    ...place,
    id: clock.uuid(),
    capacityBytes: volume.capacityBytes,
    ...(volume.encryption === undefined ? {} : { encryption: volume.encryption }),
    imageId: undefined,
    baseId: undefined,
    phase: 'creating',
    frozen: false,
    madeForVm: undefined,
    createdAt: clock.now(),
    move: { ...move, fromId: volume.id },
  }
}

/** The volumes that disks of a VM are on their way to. */
export function movesOf(vmId: string, store: Store): readonly CopyRecord[] {
  return store.volumes
    .list()
    .filter((row): row is CopyRecord => row.move?.vmId === vmId && row.move.layerOf === undefined)
}

/** The copy as its row is now; undefined when it is no copy any more. */
export function copyNow(id: string, store: Store): CopyRecord | undefined {
  const volume = store.volumes.get(id)
  return volume?.move === undefined ? undefined : { ...volume, move: volume.move }
}

/** How far a move is, in the words of phases: of a volume that was there before and stays, the rest of its row says it. */
export function stepOf({ phase, move, work }: CopyRecord): VolumeRecord['phase'] {
  if (!move.into) return phase
  if (work !== 'filled') return 'ready'
  return move.isGivenUp ? 'deleting' : 'creating'
}

/** A move that was not gone over to yet is over: who has the emulator let go of the copy removes it, or frees what was there before. */
export function writeGivenUp(id: string, { store }: Pick<Ports, 'store'>): void {
  const copy = copyNow(id, store)
  if (!copy || stepOf(copy) !== 'creating') return
  store.volumes.update(givenUp(copy))
}

function givenUp(copy: CopyRecord): CopyRecord {
  if (!copy.move.into) return { ...copy, phase: 'deleting' }
  return { ...copy, work: 'filled', move: { ...copy.move, isGivenUp: true } }
}

/** The disk is on the copy, which has the name, unless it was there before; the former volume is not gone yet. */
export function writeSwitched(seat: Seat, copy: CopyRecord, ports: Ports): void {
  const { store } = ports
  const former = store.volumes.get(copy.move.fromId)
  if (!former) return
  if (copy.move.into) {
    const { work: _, ...free } = copy
    seat.update(onVolume(seat.record, { from: former, to: copy }), () => store.volumes.update(free))
    return
  }
  const filled = filledUnder(copy.id, store)
  const name = filled?.name ?? former.name
  const isHere = former.pool === copy.pool
  const left = isHere
    ? freeVolumeName({ pool: former.pool, name: `${name}.old` }, ports, new Set())
    : former.name
  seat.update(onVolume(seat.record, { from: former, to: { pool: copy.pool, name } }), () => {
    store.volumes.update({ ...former, name: left, madeForVm: undefined })
    if (filled) store.volumes.update({ ...filled, name: layerName(filled, ports) })
    store.volumes.update({ ...copy, name, phase: 'ready', madeForVm: former.madeForVm })
    writeLayersSwitched(copy, name, store)
  })
}

/** What was there before lends its name to the disk that lies on it, as when a snapshot is taken of it, and has that of its layer. */
function layerName({ pool, move }: CopyRecord, ports: Ports): string {
  const name = ports.store.volumes.get(move.fromId)?.name ?? 'layer'
  return freeVolumeName({ pool, name }, ports, new Set())
}

/** The disk did not go over: it is on the former volume, as before, and the copy is to go. */
export function writeBack(seat: Seat, copy: CopyRecord, ports: Ports): void {
  const { store } = ports
  const former = store.volumes.get(copy.move.fromId)
  if (!former) return
  if (copy.move.into) {
    seat.update(onVolume(seat.record, { from: copy, to: former }), () => store.volumes.update(givenUp(copy)))
    return
  }
  const filled = filledUnder(copy.id, store)
  const name = filled ? former.name : copy.name
  const isTaken = filled || former.pool === copy.pool
  const left = isTaken ? `${copy.name}.${copy.id.slice(0, 8)}`.slice(-63) : name
  seat.update(onVolume(seat.record, { from: copy, to: { pool: former.pool, name } }), () => {
    store.volumes.update({ ...copy, name: left, phase: 'deleting', madeForVm: undefined })
    if (filled) store.volumes.update({ ...filled, name: copy.name })
    store.volumes.update({ ...former, name, madeForVm: copy.madeForVm })
    writeLayersBack(copy, name, store)
  })
}

/** The move is over: the former volume is to be removed, or is nobody's. Part of a transaction, or one. */
export function writeDone(copy: CopyRecord, ports: Ports): void {
  const { store } = ports
  store.transaction(() => {
    const { move, ...rest } = copy
    for (const { move: _, ...layer } of layerCopiesOf(copy.id, store)) store.volumes.update(layer)
    store.volumes.update(rest)
    const former = store.volumes.get(move.fromId)
    if (!former) return
    const { work: _, ...free } = former
    if (!move.keep) keepGround(free, ports)
    store.volumes.update({ ...free, phase: move.keep ? 'ready' : 'deleting' })
  })
}

/** An export is a volume like others, and nothing is done to what it was copied from. */
export function writeLetGo(copy: CopyRecord, { store }: Ports): void {
  store.transaction(() => {
    const { move, ...rest } = copy
    store.volumes.update(rest)
    const source = store.volumes.get(move.fromId)
    if (source?.work !== 'exported') return
    const { work: _, ...free } = source
    store.volumes.update(free)
  })
}

/** What of a VM's row names a volume, once its disk is on another one. */
export function onVolume(
  { spec, run, revision }: VmRecord,
  place: { readonly from: VolumeName; readonly to: VolumeName },
): Partial<VmRecord> {
  const { from, to } = place
  if (from.pool === to.pool && from.name === to.name) return {}
  const moved = (one: VmSpec): VmSpec => ({
    ...one,
    disks: one.disks.map((disk) =>
      disk.volume === from.name && disk.pool === from.pool
        ? { ...disk, pool: to.pool, volume: to.name }
        : disk,
    ),
  })
  return {
    spec: moved(spec),
    revision: revision + 1,
    ...(run ? { run: { ...run, bootedSpec: moved(run.bootedSpec) } } : {}),
  }
}
