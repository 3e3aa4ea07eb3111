/** What has to be so for a disk to be moved while its VM runs, and the beginning: rows, the copy's file, the emulator copies. */
import { type DiskSpec, isReadOnly, KvasirError, type VolumeFormat } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { backendOf, usablePool } from '../pools/usable-pool.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { layerOptions } from '../snapshots/layer-options.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { requireEncryption } from '../volumes/encryption.ts'
import { beginWork, requireWhole } from '../volumes/hold-volume.ts'
import { requireFreeName } from '../volumes/require-free-name.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { sourceOf } from '../volumes/volume-files.ts'
import { holderOf } from '../volumes/volume-use.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { planLayers } from './copy-layers.ts'
import { beginFilling, planInto, requireRoom } from './fill-volume.ts'
import { newLayerCopies } from './layer-rows.ts'
import { makeCopy, requireSameSize } from './make-copy.ts'
import { type CopyRecord, copyNow, newCopy, writeGivenUp } from './move-rows.ts'
import { settleMoves } from './settle-moves.ts'

export interface MoveRequest {
  readonly disk: string
  readonly pool?: string | undefined
  readonly format?: VolumeFormat | undefined
  /** The name of a volume that is there, into which it goes. */
  readonly volume?: string | undefined
  /** What that holds is written over, whatever it is. */
  readonly force: boolean
  /** In bytes a second; 0 for as fast as it goes. */
  readonly speed: number
  /** The former volume stays. */
  readonly keep: boolean
}

/** A disk with its volume and what it is to become. */
export interface PlannedMove {
  readonly disk: DiskSpec
  readonly volume: VolumeRecord
  readonly pool: string
  readonly format: VolumeFormat
  /** The volume that is there already. */
  readonly into?: VolumeRecord
  /** The former volume stays. */
  readonly keep: boolean
  /** Those of its snapshots, which go along. */
  readonly layers: readonly VolumeRecord[]
}

/** What a move would be of what; refuses what cannot be moved, whether the VM runs or not. */
export function planMove(
  record: VmRecord,
  request: MoveRequest,
  { ports }: Pick<Context, 'ports'>,
): PlannedMove {
  const { store } = ports
  const words = `Disk ${request.disk} of VM ${record.name}`
  const disk = record.spec.disks.find(({ name }) => name === request.disk)
  const volume = disk?.volume === undefined ? undefined : store.volumes.find(disk.pool, disk.volume)
  if (disk?.shareable)
    throw new KvasirError(
      'unsupported',
      `${words} is shareable, and others would go on writing to where it was, so it is not moved.`,
    )
  if (!disk || !volume)
    throw new KvasirError('volume-not-found', `${words} is not there, so it is not moved.`)
  requireWhole(volume)
  const place =
    request.volume === undefined
      ? planCopy({ words, volume }, request, ports)
      : planInto({ words, volume }, { ...request, volume: request.volume }, ports)
  requireAlone(record, volume, ports)
  // What cannot be made here is not forgotten either: a LUN is a free volume again.
  const keep = request.keep || backendOf(volume, ports).isSizedByOthers === true
  const layers = planLayers(record, { disk, volume, ...place }, ports)
  return { disk, volume, keep, layers, ...place }
}

/** A volume that is to be made. */
function planCopy(
  { words, volume }: { readonly words: string; readonly volume: VolumeRecord },
  request: Pick<MoveRequest, 'pool' | 'format'>,
  ports: Ports,
): Pick<PlannedMove, 'pool' | 'format'> {
  const pool = request.pool ?? volume.pool
  const backend = usablePool(pool, ports)
  const formats: readonly VolumeFormat[] = backend.capabilities.formats
  const format = request.format ?? (formats.includes(volume.format) ? volume.format : (formats[0] ?? 'raw'))
  if (pool === volume.pool && format === volume.format)
    throw new KvasirError(
      'bad-request',
      `${words} is in pool ${pool} as ${format} already, so it is not moved.`,
    )
  if (!formats.includes(format))
    throw new KvasirError(
      'unsupported',
      `Pool ${pool} has no volumes of format ${format}, so ${words} is not moved.`,
    )
  if (volume.encryption) requireEncryption({ pool, format }, ports)
  if (pool !== volume.pool) requireFreeName({ pool, name: volume.name }, ports)
  return { pool, format }
}

function requireAlone(record: VmRecord, volume: VolumeRecord, { store }: Ports): void {
  const holder = holderOf(volume, store, record.id)
  if (holder)
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(volume)} is in use by ${holder}, so it is not moved.`,
    )
}

/** Begins a move. On failure the VM is as before. */
export async function beginMove(seat: Seat, context: Context, request: MoveRequest): Promise<CopyRecord> {
  const { ports } = context
  const { failpoint } = ports
  const { record, emulator } = seat
  requireSettled(record, ports)
  const planned = planMove(record, request, context)
  if (!emulator) throw notOn(record, planned.disk.name)
  requireBooted(record, planned, 'moved')
  const look = { from: planned.volume, force: request.force, signal: seat.signal, isLive: true }
  if (planned.into) await requireRoom(planned.into, look, ports)
  await failpoint('vm.move.before-row')
  const copy = writeRows(record, planned, context)
  await orGiveUp(seat, copy, {
    ports,
    work: async () => {
      await failpoint('vm.move.after-row')
      if (planned.layers.length === 0) await beginCopying(seat, copy, { ports, request })
    },
  })
  return copy
}

/** Has the emulator copy a disk: all of it, or what is on top of layers that were copied before. On failure the VM is as before. */
export async function beginOnLayers(
  seat: Seat,
  copy: CopyRecord,
  { ports, request }: { readonly ports: Ports; readonly request: MoveRequest },
): Promise<void> {
  if (!seat.emulator || copyNow(copy.id, ports.store)?.phase !== 'creating')
    throw notOn(seat.record, copy.move.disk)
  await orGiveUp(seat, copy, { ports, work: () => beginCopying(seat, copy, { ports, request }) })
}

async function beginCopying(
  { record, emulator }: Seat,
  copy: CopyRecord,
  { ports, request }: { readonly ports: Ports; readonly request: MoveRequest },
): Promise<void> {
  const { failpoint, store } = ports
  const disk = record.spec.disks.find(({ name }) => name === copy.move.disk)
  if (!emulator || !disk) throw notOn(record, copy.move.disk)
  const capacityBytes = copy.move.into ? copy.capacityBytes : await makeCopy(copy, ports)
  await failpoint('vm.move.after-file')
  const sizeBytes = store.volumes.get(copy.move.fromId)?.capacityBytes ?? capacityBytes
  if (copy.liesIn !== undefined) requireSameSize(copy, { capacityBytes, sizeBytes })
  await emulator.blocks.mirrors.begin({
    disk: disk.name,
    id: copy.id,
    source: sourceOf(copy, ports),
    below: volumeChain(copy, ports).slice(1),
    holdsBelow: copy.move.clonesId !== undefined,
    options: layerOptions({ disk: { ...disk, pool: copy.pool }, volume: copy }, record, ports),
    ...(capacityBytes > sizeBytes ? { sizeBytes } : {}),
    bytesPerSecond: request.speed,
  })
  await failpoint('vm.move.after-begin')
}

async function orGiveUp(
  seat: Seat,
  copy: CopyRecord,
  { ports, work }: { readonly ports: Ports; readonly work: () => Promise<void> },
): Promise<void> {
  try {
    await work()
  } catch (error) {
    writeGivenUp(copy.id, ports)
    await settleMoves(seat, ports).catch((cause: unknown) =>
      ports.log.warn({ vm: seat.record.name, err: cause }, 'a copy of a disk is still to be removed'),
    )
    throw error
  }
}

/** The rows of a move: its copy, with those of the layers that go along, and the mark of what is moved. */
export function writeRows(record: VmRecord, planned: PlannedMove, context: Context): CopyRecord {
  const { disk, volume, pool, format, into, keep, layers } = planned
  const { ports } = context
  const { store } = ports
  if (into && layers.length === 0) {
    const move = { vmId: record.id, disk: disk.name, fromId: volume.id, keep, into: true }
    return store.transaction(() => {
      const copy = { ...beginFilling({ volume, into }, context), move }
      store.volumes.update(copy)
      return copy
    })
  }
  const taken = into ?? (pool === volume.pool ? volume : undefined)
  const name = taken ? freeVolumeName({ pool, name: `${taken.name}.new` }, ports, new Set()) : volume.name
  const place = { name, pool, format, move: { vmId: record.id, disk: disk.name, keep } }
  const flat = newCopy(volume, place, ports)
  const rows = layers.length === 0 ? ([flat] as const) : newLayerCopies(layers, { flat, volume, into }, ports)
  store.transaction(() => {
    usablePool(pool, ports)
    if (into) beginFilling({ volume, into }, context)
    else beginWork(volume, 'moved', context)
    for (const row of rows)
      if (row.move.into) store.volumes.update(row)
      else store.volumes.insert(row)
  })
  return rows.at(-1) ?? flat
}

/** A disk that was changed since the boot, or waits for the next one, is none of the emulator's. */
export function requireBooted(
  { name, run }: VmRecord,
  { disk }: Pick<PlannedMove, 'disk'>,
  done: 'moved' | 'exported' | 'given a checkpoint',
): void {
  const booted = run?.bootedSpec.disks.find((one) => one.name === disk.name)
  if (booted?.volume === disk.volume && booted?.pool === disk.pool && !isReadOnly(disk)) return
  throw new KvasirError(
    'wrong-state',
    isReadOnly(disk)
      ? `Disk ${disk.name} of VM ${name} is read-only, so it is not ${done} while the VM runs.`
      : `Disk ${disk.name} of VM ${name} waits for its next boot, so it is not ${done} now.`,
  )
}

function notOn({ name, life }: VmRecord, disk: string): KvasirError {
  return new KvasirError('wrong-state', `VM ${name} is ${life.state}, so disk ${disk} is not moved now.`)
}
