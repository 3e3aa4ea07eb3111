/**
 * Moves a disk into a volume that is there: what has to be so for that, and, of a VM that is off, the move itself.
 *
 *     what it holds is looked at ─▶ rows: the volume is `filled`, that of the disk `moved` ─▶ the copy ─▶ row: the disk is on it
 *
 * From its row on nobody else uses or removes the volume. It outlives whatever happens to the move; what it holds is undefined then
 * (settle-work.ts). The moves of VMs that run are in move-disk.ts.
 */
import { formatBytes, type Job, KvasirError } from '@kvasir/contract'
import { recognisedBytes, recognisedOn } from '../../model/storage/recognised.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePlace, usablePool } from '../pools/usable-pool.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { askPools } from '../volumes/ask-pools.ts'
import { type Asked, beginCopyJob } from '../volumes/copy-volume.ts'
import { beginWork, endWork, requireOff, requireWhole } from '../volumes/hold-volume.ts'
import { keepGround } from '../volumes/keep-ground.ts'
import { freeFilled } from '../volumes/settle-work.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { sourceOf } from '../volumes/volume-files.ts'
import { clonesOf, holderOf } from '../volumes/volume-use.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import type { MoveRequest, PlannedMove } from './begin-move.ts'
import { onVolume } from './move-rows.ts'

const lookTimeoutMs = 60_000
/** Beside its contents, for its tables. */
const spareBytes = 2 ** 30

/** A disk's volume, and the one that it goes into. */
export interface Filling {
  readonly volume: VolumeRecord
  readonly into: VolumeRecord
}

/** What a move into a volume that is there would be; refuses one that is not free or does not fit. */
export function planInto(
  { words, volume }: { readonly words: string; readonly volume: VolumeRecord },
  request: Pick<MoveRequest, 'pool' | 'format'> & { readonly volume: string },
  ports: Ports,
): Pick<PlannedMove, 'pool' | 'format' | 'into'> {
  const { pool = volume.pool, volume: name } = request
  usablePool(pool, ports)
  const into = ports.store.volumes.find(pool, name)
  const target = `volume ${volumeWords({ pool, name })}`
  const refuse = (code: 'bad-request' | 'unsupported' | 'volume-not-found', why: string) =>
    new KvasirError(code, `${words} is not moved into ${target}: ${why}.`)
  if (!into || into.phase === 'creating') throw refuse('volume-not-found', 'there is no such volume')
  if (into.id === volume.id) throw refuse('bad-request', 'it is on it already')
  requireFree(into, ports)
  if (into.liesIn !== undefined || into.baseId !== undefined || into.imageId !== undefined)
    throw refuse('unsupported', 'that is an overlay, which holds only what differs from its base')
  if (request.format !== undefined && request.format !== into.format)
    throw refuse('bad-request', `that is ${into.format} and stays so`)
  if (volume.encryption || into.encryption)
    throw refuse('unsupported', 'what is encrypted moves only to volumes that are made for it')
  if (into.capacityBytes < volume.capacityBytes)
    throw refuse(
      'bad-request',
      `the disk has ${formatBytes(volume.capacityBytes)}, and that only ${formatBytes(into.capacityBytes)}`,
    )
  return { pool, format: into.format, into }
}

/**
 * Asks the storage of the volume: whether it is there, as large as the disk, and holds nothing that is recognised. A qcow2 that is larger
 * is refused while the VM runs, since nothing copies between disks of two sizes then.
 */
export async function requireRoom(
  into: VolumeRecord,
  { from, force, signal, isLive }: LookedAt,
  ports: Ports,
): Promise<void> {
  const target = `Volume ${volumeWords(into)}`
  await usablePlace(into, ports).requireUnlocked?.(into)
  const capacityBytes = await usablePlace(into, ports).capacityBytes(into)
  const isOdd = isLive && into.format === 'qcow2' && capacityBytes !== from.capacityBytes
  if (capacityBytes < from.capacityBytes || isOdd)
    throw new KvasirError(
      'bad-request',
      `${target} has ${formatBytes(capacityBytes)}, and the disk ${formatBytes(from.capacityBytes)}, so it is not moved${
        isOdd ? ' there while its VM runs: a qcow2 volume has to have just as much' : ' there'
      }.`,
    )
  if (force) return
  const looking = AbortSignal.any([signal, AbortSignal.timeout(lookTimeoutMs)])
  const open = await ports.access.open([sourceOf(into, ports)], {
    access: 'read',
    fileSizeBytes: 0,
    signal: looking,
  })
  try {
    const found = recognisedOn(await open.read(0, Math.min(recognisedBytes, open.sizeBytes)))
    if (found === undefined) return
    throw new KvasirError(
      'in-use',
      `${target} holds ${found}, so nothing is moved into it; force writes over it, and volume wipe empties it.`,
      { details: { found } },
    )
  } finally {
    await open.close()
  }
}

interface LookedAt {
  /** The disk's volume. */
  readonly from: VolumeRecord
  readonly force: boolean
  readonly signal: AbortSignal
  /** The VM runs. */
  readonly isLive: boolean
}

/** Writes down, in a transaction, that a disk goes into a volume, unless somebody took that meanwhile; answers its row. */
export function beginFilling({ volume, into }: Filling, context: Context): VolumeRecord {
  const { ports } = context
  return ports.store.transaction(() => {
    usablePool(into.pool, ports)
    beginWork(volume, 'moved', context)
    const held = beginWork(into, 'filled', context)
    requireFree({ ...held, work: undefined }, ports)
    return held
  })
}

function requireFree(into: VolumeRecord, { store }: Ports): void {
  requireWhole(into)
  const holder = holderOf(into, store) ?? clonesOf(into, store)
  if (holder === undefined) return
  throw new KvasirError(
    'in-use',
    `Volume ${volumeWords(into)} is in use by ${holder}, so nothing is moved into it.`,
  )
}

/** Begins to move the disk of a VM that is off. The job's result is the name of the volume that it is on then. */
export function beginFillVolume(
  filling: Filling,
  { keep, force, speed }: Pick<MoveRequest, 'keep' | 'force' | 'speed'>,
  asked: Asked,
): Job {
  const { context } = asked
  const { volume, into } = filling
  return beginCopyJob('volume.convert', volume, asked, async (job, seats) => {
    requireOff(volume, seats, 'is not moved')
    await requireRoom(into, { from: volume, force, signal: job.signal, isLive: false }, context.ports)
    await fill(filling, { context, job, seats, keep, bytesPerSecond: speed })
    const former = context.ports.store.volumes.get(volume.id)
    if (former?.phase === 'deleting') await removeVolume(former, context)
    await context.ports.failpoint('vm.fill.after-done')
    return into.name
  })
}

interface FillWork {
  readonly context: Context
  readonly job: JobHandle
  readonly seats: readonly Seat[]
  readonly keep: boolean
  readonly bytesPerSecond: number
}

async function fill(filling: Filling, work: FillWork): Promise<void> {
  const { context, job, bytesPerSecond } = work
  const { ports } = context
  const { volume } = filling
  await ports.failpoint('vm.fill.before-row')
  const into = beginFilling(filling, context)
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => endWork(volume.id, context))
  undo.defer(async () => {
    freeFilled(into, ports)
    job.outcome(`What volume ${volumeWords(into)} holds is undefined now.`)
  })
  await ports.failpoint('vm.fill.after-row')
  await askPools(volume, ports)
  await ports.access.fill([sourceOf(into, ports)], volumeChain(volume, ports), {
    fileSizeBytes: 2 * into.capacityBytes + spareBytes,
    bytesPerSecond,
    signal: job.signal,
    onProgress: (fraction) => job.progress(`copying ${volumeWords(volume)}`, fraction),
  })
  await ports.failpoint('vm.fill.after-copy')
  job.conclude(into.name, () => takePlace({ volume, into }, work))
  undo.move()
}

/** In a transaction: the disk is on the volume that was filled. */
function takePlace({ volume, into }: Filling, { context, seats, keep }: FillWork): void {
  const { store } = context.ports
  const [{ work: _, ...free }, { work: __, ...former }] = [into, store.volumes.get(volume.id) ?? volume]
  store.volumes.update(free)
  if (!keep) keepGround(former, context.ports)
  store.volumes.update({ ...former, phase: keep ? 'ready' : 'deleting', madeForVm: undefined })
  for (const seat of seats) seat.update(onVolume(seat.record, { from: volume, to: into }))
  const { id, pool, format } = into
  context.emit('volume.changed', volumeWords(into), { id, pool, format })
}
