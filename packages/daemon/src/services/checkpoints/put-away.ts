/**
 * What an emulator has noted of raw disks, over the time in which there is no emulator.
 *
 *     guest stands ─▶ bitmaps into files ─▶ emulator ends ─▶ rows of the volumes: notes of this VM
 *     emulator stands before its guest ─▶ bitmaps out of the files ─▶ rows: no notes ─▶ files go ─▶ guest runs
 *
 * A row says that there are notes only while nobody has written to its volume since they were made. So a guest never runs before the row says
 * that there are none, and every other change of a volume takes that away with its first row (store/volumes.ts). What is broken off in the
 * middle leaves no notes: the checkpoint is lost, and the next export is of all. What is noted wrong would be worse.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { bitmapName } from '../../model/storage/checkpoint-state.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import { checkpointsOf } from './checkpoint-rows.ts'

/** A guest's power is cut no later for what its disks lie on. */
const putAwayMs = 8_000
/** What the notes of a disk take beside their bitmaps. */
const tablesBytes = 2 ** 20
/** QEMU notes 64 KiB by one bit at the finest, unless it is told otherwise. */
const bytesOfByte = 8 * 65_536

interface NotedDisk {
  readonly disk: string
  readonly volume: VolumeRecord
  /** The names of the bitmaps that it may have. */
  readonly names: readonly string[]
}

/** Disks on volumes without room for notes, that checkpoints are about. */
function notedDisks(
  record: VmRecord,
  { disks }: Pick<VmSpec, 'disks'>,
  { store }: Ports,
): readonly NotedDisk[] {
  const checkpoints = checkpointsOf(record)
  if (checkpoints.length === 0) return []
  return disks.flatMap(({ name, pool, volume, shareable }) => {
    const found = volume === undefined ? undefined : store.volumes.find(pool, volume)
    const names = checkpoints.filter((one) => one.disks.includes(name)).map(({ id }) => bitmapName(id))
    const isMeant = found !== undefined && !shareable && mayBeNoted(found)
    return isMeant && names.length > 0 ? [{ disk: name, volume: found, names }] : []
  })
}

/** Whether a volume has no room for notes, and nothing is done to it: its disk may be in the middle of going elsewhere. */
function mayBeNoted({ format, phase, work, move, frozen }: VolumeRecord): boolean {
  return format === 'raw' && phase === 'ready' && work === undefined && move === undefined && !frozen
}

/**
 * Puts away what an emulator that is about to be ended has noted; answers the ids of the volumes, for when it has ended. Its guest stands
 * from then on. Never throws: what cannot be put away is lost.
 */
export async function putNotesAway(seat: Seat, ports: Ports): Promise<readonly string[]> {
  const { record, emulator } = seat
  // What there are notes of has not run since.
  const disks = notedDisks(record, bootedSpec(record), ports).filter(({ volume }) => !volume.notesOf)
  if (!emulator || disks.length === 0) return []
  const made: string[] = []
  const done: string[] = []
  const work = async () => {
    await emulator.pause()
    for (const { disk, volume, names } of disks) {
      const { files } = ports
      const mostBytes = tablesBytes + names.length * Math.ceil(volume.capacityBytes / bytesOfByte)
      made.push(volume.id)
      await files.makeNotes(volume.id, mostBytes)
      await ports.failpoint('checkpoint.put-away.after-file')
      const count = await emulator.blocks.notes.putAway({ disk, path: files.notesPath(volume.id) })
      await ports.failpoint('checkpoint.put-away.after-bitmaps')
      if (count > 0) done.push(volume.id)
    }
  }
  const working = work()
  try {
    await within(putAwayMs, working)
  } catch (err) {
    ports.log.warn({ vm: record.name, err }, 'what checkpoints had noted of raw disks was not put away')
  }
  const counted = [...done] // What comes too late is not counted: the emulator is being ended then.
  const removeRest = () =>
    removeNotes(
      made.filter((id) => !counted.includes(id)),
      ports,
    )
  void working.then(removeRest, removeRest)
  return counted
}

/** Removes files of notes that no row names. Never throws: the audit tells of what stays. */
export async function removeNotes(volumeIds: readonly string[], { files, log }: Ports): Promise<void> {
  for (const id of volumeIds)
    await files.removeNotes(id).catch((err: unknown) => {
      log.warn({ volume: id, err }, 'what checkpoints had noted of a volume could not be removed')
    })
}

/** The spec that an emulator runs by. */
export function bootedSpec({ run, spec }: Pick<VmRecord, 'run' | 'spec'>): VmSpec {
  return run?.bootedSpec ?? spec
}

async function within(timeoutMs: number, work: Promise<void>): Promise<void> {
  work.catch(() => {}) // It may end after the time.
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new KvasirError('deadline-exceeded', `It took longer than ${timeoutMs / 1000} s.`)),
    timeoutMs,
  )
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Writes down that there are notes, in the transaction that says that the emulator has ended. */
export function writeNotes(record: VmRecord, volumeIds: readonly string[], { store }: Ports): void {
  for (const id of volumeIds) {
    const volume = store.volumes.get(id)
    if (volume && mayBeNoted(volume)) store.volumes.setNotesOf(id, record.id)
  }
}

/** Gives an emulator, of a spec, whose guest has not run what was put away of its disks. Never throws: what cannot be read is lost. */
export async function takeNotesBack(
  record: VmRecord,
  { emulator, spec }: { readonly emulator: Emulator; readonly spec: VmSpec },
  ports: Ports,
): Promise<void> {
  for (const { disk, volume, names } of notedDisks(record, spec, ports)) {
    if (volume.notesOf !== record.id) continue
    const path = ports.files.notesPath(volume.id)
    try {
      await emulator.blocks.notes.takeBack({ disk, path, names })
    } catch (err) {
      ports.log.warn({ vm: record.name, disk, err }, 'what checkpoints had noted of a disk could not be read')
    }
    await ports.failpoint('checkpoint.take-back.after-bitmaps')
  }
}

/** Lets the guest of an emulator run that has taken back what there was of its disks. */
export async function resumeNoted(emulator: Emulator, spec: VmSpec, ports: Ports): Promise<void> {
  const had = await forgetNotes(spec, ports)
  await emulator.resume()
  if (had) await emulator.blocks.notes.letGo().catch(() => undefined) // Nothing but a descriptor stays.
}

/** Somebody may write to the volumes of these disks from now on, so what was noted of them counts for nothing. Answers whether there was any. */
export async function forgetNotes({ disks }: Pick<VmSpec, 'disks'>, ports: Ports): Promise<boolean> {
  const { store } = ports
  const noted = disks.flatMap(({ pool, volume }) => {
    const found = volume === undefined ? undefined : store.volumes.find(pool, volume)
    return found?.notesOf === undefined ? [] : [found.id]
  })
  if (noted.length === 0) return false
  store.transaction(() => {
    for (const id of noted) store.volumes.setNotesOf(id, undefined)
  })
  try {
    await ports.failpoint('checkpoint.take-back.after-rows')
  } finally {
    await removeNotes(noted, ports) // No row names them any more.
  }
  await ports.failpoint('checkpoint.take-back.after-files')
  return true
}
