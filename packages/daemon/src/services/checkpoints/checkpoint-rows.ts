/** What a VM's row says of its checkpoints, and bitmaps that belong to none. */
import { isReadOnly, KvasirError, type VmSpec } from '@kvasir/contract'
import { bitmapName, bitmapPrefix } from '../../model/storage/checkpoint-state.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { CheckpointRecord, VmRecord } from '../../ports/store.ts'

/** Each bitmap costs each write of the guest a little, and the emulator 2 KiB of memory for each GiB of its disk. */
const mostCheckpoints = 32

/** The checkpoints of a VM that are whole, oldest first. */
export function checkpointsOf({ checkpoints = [] }: VmRecord): readonly CheckpointRecord[] {
  return checkpoints.filter(({ phase }) => phase === 'ready')
}

/** A checkpoint by name; `checkpoint-not-found`. */
export function requireCheckpoint(record: VmRecord, name: string): CheckpointRecord {
  const found = checkpointsOf(record).find((one) => one.name === name)
  if (found) return found
  throw new KvasirError('checkpoint-not-found', `VM ${record.name} has no checkpoint ${name}.`)
}

/** A checkpoint of disks that is to be made. Refuses what does not go. */
export function planCheckpoint(
  record: VmRecord,
  { name, description, disks }: Pick<CheckpointRecord, 'name' | 'description' | 'disks'>,
  { clock, store }: Ports,
): CheckpointRecord {
  const checkpoints = checkpointsOf(record)
  if (checkpoints.some((one) => one.name === name))
    throw new KvasirError('name-taken', `VM ${record.name} has a checkpoint ${name} already.`)
  if (checkpoints.length >= mostCheckpoints)
    throw new KvasirError(
      'bad-request',
      `VM ${record.name} has ${mostCheckpoints} checkpoints, and each makes its disks a little slower, so no other one is made.`,
    )
  for (const disk of disks) {
    const { pool, volume, shareable } = record.spec.disks.find((one) => one.name === disk) ?? {}
    const found = pool === undefined || volume === undefined ? undefined : store.volumes.find(pool, volume)
    if (found && !shareable) continue
    const why = found ? 'shareable, and what others write to it is not noted' : 'on no volume'
    throw new KvasirError(
      'unsupported',
      `Disk ${disk} of VM ${record.name} is ${why}, so there is no checkpoint of it.`,
      { details: { disk } },
    )
  }
  return { id: clock.uuid(), name, description, createdAt: clock.now(), phase: 'creating', disks }
}

/** The disks that are meant: those named, or all that the guest may write to. */
export function wantedDisks(
  { name, spec }: Pick<VmRecord, 'name' | 'spec'>,
  wanted: readonly string[] | undefined,
): VmSpec['disks'] {
  for (const disk of wanted ?? [])
    if (!spec.disks.some((one) => one.name === disk))
      throw new KvasirError('volume-not-found', `VM ${name} has no disk ${disk}.`)
  const disks = spec.disks.filter(
    (disk) => disk.volume !== undefined && (wanted?.includes(disk.name) ?? !isReadOnly(disk)),
  )
  if (disks.length > 0) return disks
  throw new KvasirError('bad-request', `VM ${name} has no disk that it may write to.`)
}

/** The rows with one more, or with one that is now whole. */
export function withCheckpoint(
  { checkpoints = [] }: VmRecord,
  checkpoint: CheckpointRecord,
): Pick<VmRecord, 'checkpoints'> {
  return { checkpoints: [...checkpoints.filter(({ id }) => id !== checkpoint.id), checkpoint] }
}

/** The rows without one. */
export function withoutCheckpoint(
  { checkpoints = [] }: VmRecord,
  { id }: Pick<CheckpointRecord, 'id'>,
): Pick<VmRecord, 'checkpoints'> {
  return { checkpoints: checkpoints.filter((one) => one.id !== id) }
}

/** Drops checkpoints that were not finished, and removes bitmaps of a running VM that belong to none. */
export async function settleCheckpoints(seat: Seat): Promise<void> {
  const { record, emulator } = seat
  const whole = checkpointsOf(record)
  if (whole.length < (record.checkpoints?.length ?? 0)) seat.update({ checkpoints: whole })
  if (!emulator) return
  const known = new Set(whole.map(({ id }) => bitmapName(id)))
  const disks = record.spec.disks.map(({ name }) => name)
  for (const { name, disk } of await emulator.blocks.instants.bitmaps(disks, bitmapPrefix))
    if (!known.has(name)) await emulator.blocks.instants.removeBitmaps(name, [disk])
}
