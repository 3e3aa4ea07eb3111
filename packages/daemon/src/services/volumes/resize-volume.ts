/**
 * Gives a volume another capacity: its row says `resized`, the file or the running emulator is told, the row has the capacity. What
 * is interrupted is settled by what the file says (settle-work.ts).
 */
import type { Volume } from '@kvasir/contract'
import { formatBytes, KvasirError } from '@kvasir/contract'
import { bitmapPrefix } from '../../model/storage/checkpoint-state.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { beginWork, endWork, requireOff, requireWhole, withSeats } from './hold-volume.ts'
import { showVolume } from './show-volume.ts'
import { asMade } from './volume-files.ts'
import { holderOf } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'

const sectorBytes = 512

export interface ResizeRequest {
  readonly size: number
  readonly shrink: boolean
}

/** Resizes a volume. Growing goes while the guest runs; shrinking is refused unless it was asked for and nobody has the volume open. */
export async function resizeVolume(
  volume: VolumeRecord,
  request: ResizeRequest,
  context: Context,
): Promise<Volume> {
  requireSound(volume, request)
  usablePlace(volume, context.ports)
  await withSeats(volume, context, (seats) => resizeHeld(volume, request, { context, seats }))
  return await showVolume(context.ports.store.volumes.get(volume.id) ?? volume, context)
}

function requireSound(volume: VolumeRecord, { size, shrink }: ResizeRequest): void {
  const words = volumeWords(volume)
  requireWhole(volume)
  const refuse = (why: string) =>
    new KvasirError(
      'bad-request',
      `Volume ${words} ${why}, so it keeps its ${formatBytes(volume.capacityBytes)}.`,
    )
  if (size === 0 || size % sectorBytes !== 0)
    throw refuse(`would have ${size} bytes, which is no whole number of sectors of ${sectorBytes} bytes`)
  if (size >= volume.capacityBytes) return
  if (!shrink) throw refuse(`would lose what lies beyond ${formatBytes(size)}; ask for that with shrink`)
  if (volume.baseId !== undefined || volume.imageId !== undefined)
    throw refuse('is an overlay, which is not made smaller than what it is based on; convert it first')
}

async function resizeHeld(
  volume: VolumeRecord,
  { size }: ResizeRequest,
  { context, seats }: { readonly context: Context; readonly seats: readonly Seat[] },
): Promise<void> {
  const { ports } = context
  const { failpoint, store } = ports
  const running = seats.find(({ emulator }) => emulator !== undefined)
  if (size < volume.capacityBytes) requireOff(volume, seats, 'is not made smaller')
  else if (running === undefined) requireOff(volume, seats, 'is not resized')
  const child = holderOf(volume, store, seats[0]?.record.id)
  if (child !== undefined)
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(volume)} is in use by ${child}, so it is not resized.`,
    )
  const isDevice = usablePlace(volume, ports).source(volume).kind === 'device'
  // A daemon that died between a device and its emulator has left an emulator that does not know.
  if (size === volume.capacityBytes && !(running && isDevice)) return
  await failpoint('volume.resize.before-row')
  const held = beginWork(volume, 'resized', context)
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => endWork(volume.id, context))
  await failpoint('volume.resize.after-row')
  const capacityBytes = await resizeFile(held, { size, running, ports })
  await failpoint('volume.resize.after-file')
  const { work: _, ...rest } = held
  store.transaction(() => {
    store.volumes.update({ ...rest, capacityBytes })
    context.emit('volume.changed', volumeWords(volume), { id: volume.id, capacityBytes })
  })
  undo.move()
  await failpoint('volume.resize.after-ready')
}

/** Makes what lies in the pool larger or smaller; answers what it has then. A running emulator does that itself, but for devices and LUNs. */
async function resizeFile(
  held: VolumeRecord,
  work: { readonly size: number; readonly running: Seat | undefined; readonly ports: Ports },
): Promise<number> {
  const { size, running, ports } = work
  await requireGround(held, size, ports)
  const pool = usablePlace(held, ports)
  const isDevice = pool.source(held).kind === 'device'
  if (running && !isDevice) {
    if (pool.isSizedByOthers) await pool.resize(held, size)
    await tellEmulator(running, { volume: held, size, ports })
    return size
  }
  if (size !== held.capacityBytes) await pool.resize(held, size)
  const { capacityBytes } = await asMade({ ...held, capacityBytes: size }, ports)
  if (running) await tellEmulator(running, { volume: held, size: capacityBytes, ports })
  return capacityBytes
}

async function tellEmulator(
  { record, emulator }: Seat,
  { volume, size, ports }: { readonly volume: VolumeRecord; readonly size: number; readonly ports: Ports },
): Promise<void> {
  const { disks } = record.run?.bootedSpec ?? record.spec
  const disk = disks.find((one) => one.volume === volume.name && one.pool === volume.pool)
  if (!disk || !emulator)
    throw new KvasirError(
      'wrong-state',
      `VM ${record.name} was given volume ${volumeWords(volume)} since it was started, so it is not resized now.`,
    )
  if (volume.format === 'raw' && (volume.encryption || usablePlace(volume, ports).isSizedByOthers))
    await loseNotes(emulator, disk.name)
  await emulator.blocks.resize(disk.name, size)
}

/** What a volume has where it grew is not known to be zeroes, and bitmaps do not tell of it. */
async function loseNotes({ blocks }: Emulator, disk: string): Promise<void> {
  for (const { name } of await blocks.instants.bitmaps([disk], bitmapPrefix))
    await blocks.instants.removeBitmaps(name, [disk])
}

/**
 * What a layer over a LUN holds goes into the LUN one day, which is as large as it is. Where the LUN grew it holds what was left there, which
 * would be seen through the layer.
 */
async function requireGround(held: VolumeRecord, size: number, ports: Ports): Promise<void> {
  if (held.liesIn === undefined) return
  let ground = held
  while (ground.baseId !== undefined) {
    const below = ports.store.volumes.get(ground.baseId)
    if (!below) return
    ground = below
  }
  const pool = usablePlace(ground, ports)
  if (!pool.isSizedByOthers) return
  await pool.resize(ground, size)
  if (size > ground.capacityBytes)
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(held)} has snapshots on a LUN, which holds what others left where it grew, so it keeps its ${formatBytes(held.capacityBytes)} until they are deleted.`,
    )
}
