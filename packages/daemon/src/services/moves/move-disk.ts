/**
 * Moves a disk of a VM that runs to another pool or format, or into a volume that is there. Layers that it lies on because of snapshots
 * are copied before the emulator copies what is on top (copy-layers.ts).
 *
 *     rows: copy `creating`, volume `moved` ─▶ the copy's file ─▶ the emulator copies, and follows the guest ─▶ it holds the disk
 *       ─▶ row: the disk is on the copy ─▶ the emulator goes over ─▶ row: done ─▶ the former volume goes
 *
 * While the emulator holds the disk, copy and volume are the same; the row written then decides which of them it is (settle-moves.ts).
 * The VM's seat is free while it is copied. A daemon that dies in between leaves an emulator that copies on, and the next one follows it.
 */
import { KvasirError } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { MirrorProgress } from '../../ports/emulator-mirrors.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { takePatiently } from '../snapshots/take-patiently.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { beginMove, beginOnLayers, type MoveRequest } from './begin-move.ts'
import { copyLayers, removeLeft } from './copy-layers.ts'
import { giveUp } from './give-up.ts'
import { filledUnder, layerCopiesOf, leftBy } from './layer-rows.ts'
import { type CopyRecord, copyNow, stepOf, writeDone, writeSwitched } from './move-rows.ts'
import { finishGoingOver, settleMoves } from './settle-moves.ts'
import { WritesOfGuest } from './writes-of-guest.ts'

const againMs = 100

interface Moving {
  readonly driver: Driver
  readonly context: Context
  readonly job: JobHandle
  readonly copyId: string
}

/** Moves a disk. On failure the VM is as before. Answers the name of the volume. */
export async function moveDisk(
  driver: Driver,
  context: Context,
  request: MoveRequest & { readonly job: JobHandle },
): Promise<string> {
  const { job } = request
  const copy = await driver.take('merge', (seat) => beginMove(seat, context, request), { jobId: job.id })
  if (layerCopiesOf(copy.id, context.ports.store).length > 0)
    await beginWithLayers(copy, request, { driver, context, job, copyId: copy.id })
  return await followMove({ driver, context, job, copyId: copy.id })
}

/** Copies the layers that a disk lies on, then has the emulator copy what is on top of them. */
async function beginWithLayers(copy: CopyRecord, request: MoveRequest, moving: Moving): Promise<void> {
  const { driver, context, job } = moving
  const { ports } = context
  try {
    await copyLayers(copy, { ports, job, bytesPerSecond: request.speed, isLive: true })
    await takePatiently(
      driver,
      'merge',
      (seat) => beginOnLayers(seat, copy, { ports, request }),
      patienceOf(moving),
    )
  } catch (error) {
    if (!isLeaving(job.signal)) {
      const filled = filledUnder(copy.id, ports.store)
      await giveUp([copy.id], moving)
      if (filled) noteUndefined(filled, moving)
    }
    throw error
  }
}

/** Follows a move that was begun to its end. */
export async function followMove(moving: Moving): Promise<string> {
  const { driver, context, job, copyId } = moving
  const { store } = context.ports
  const first = copyNow(copyId, store)
  if (!first) return ''
  const left = leftBy(first, store)
  const filled = first.move.into ? first : filledUnder(first.id, store)
  const noteFilled = () => {
    if (filled && !isDone(first, moving)) noteUndefined(filled, moving)
  }
  await using guest = new WritesOfGuest(moving)
  try {
    await copyAndGoOver(guest, moving)
  } catch (error) {
    if (isLeaving(job.signal)) throw error
    await giveUp([copyId], moving)
    noteFilled()
    if (!isDone(first, moving)) throw error
  }
  noteFilled()
  const name = isDone(first, moving) ? store.volumes.get(copyId)?.name : undefined
  await removeLeft(left, context)
  await context.ports.failpoint('vm.move.after-done')
  if (name !== undefined) return name
  throw new KvasirError(
    'wrong-state',
    `VM ${driver.view().record.name} ended before disk ${first.move.disk} was copied, so the disk stays where it was.`,
  )
}

/** Whether the disk is on what it moved to, and nothing is left to do. A volume that was there before is there in any case. */
function isDone({ id, move }: CopyRecord, { driver, context }: Moving): boolean {
  const volume = context.ports.store.volumes.get(id)
  if (volume?.phase !== 'ready' || volume.move !== undefined) return false
  const { disks } = driver.view().record.spec
  return !move.into || disks.some((disk) => disk.pool === volume.pool && disk.volume === volume.name)
}

/** What was there before and was not filled to the end holds some of this and some of that. */
function noteUndefined(copy: CopyRecord, moving: Moving): void {
  moving.job.outcome(`What volume ${volumeWords(copy)} holds is undefined now.`)
}

/** Until the row says that the move is over, one way or the other: who ends an emulator settles its moves. */
async function copyAndGoOver(guest: WritesOfGuest, moving: Moving): Promise<void> {
  const { driver, context, job, copyId } = moving
  const { ports } = context
  for (let copy = copyNow(copyId, ports.store); copy; copy = copyNow(copyId, ports.store)) {
    job.signal.throwIfAborted()
    try {
      await copyAll(copy, guest, moving)
      await takePatiently(driver, 'merge', (seat) => goOver(seat, guest, moving), patienceOf(moving))
    } catch (error) {
      // The emulator has ended, which its driver notices soon, or stands still.
      const isLost = error instanceof KvasirError && error.code === 'emulator-unresponsive'
      if (!isLost) throw error
    }
    await ports.clock.sleep(againMs, job.signal)
  }
}

async function copyAll(copy: CopyRecord, guest: WritesOfGuest, { driver, job }: Moving): Promise<void> {
  const { emulator } = driver.view()
  if (!emulator || stepOf(copy) !== 'creating') return
  const { disk } = copy.move
  const onProgress = (progress: MirrorProgress) => guest.note(copy, progress)
  await emulator.blocks.mirrors.follow({ disk, id: copy.id }, { onProgress, signal: job.signal })
}

/** Holds the disk, writes that it is on the copy, and has the emulator go over. */
async function goOver(seat: Seat, guest: WritesOfGuest, { context, job, copyId }: Moving): Promise<void> {
  const { ports } = context
  const copy = copyNow(copyId, ports.store)
  const { emulator } = seat
  if (!copy || !emulator) return
  if (stepOf(copy) !== 'creating') {
    await settleMoves(seat, ports)
    return
  }
  await ports.failpoint('vm.move.before-hold')
  const signal = AbortSignal.any([seat.signal, job.signal])
  const onProgress = (progress: MirrorProgress) => guest.note(copy, progress)
  await emulator.blocks.mirrors.hold({ disk: copy.move.disk, id: copyId }, { onProgress, signal })
  const heldAt = ports.clock.monotonicMs()
  await ports.failpoint('vm.move.after-hold')
  writeSwitched(seat, copy, ports)
  await ports.failpoint('vm.move.after-row-switch')
  await finishGoingOver(seat, copyId, ports)
  job.outcome(`The disk waited for ${(ports.clock.monotonicMs() - heldAt).toFixed(1)} ms.`)
  await ports.failpoint('vm.move.after-finish')
  writeMoved(copyId, { context, job })
}

function writeMoved(copyId: string, { context, job }: Pick<Moving, 'context' | 'job'>): void {
  const copy = copyNow(copyId, context.ports.store)
  if (!copy) return
  const { id, name, pool, format } = copy
  job.conclude(name, () => {
    writeDone(copy, context.ports)
    context.emit('volume.changed', volumeWords(copy), { id, pool, format })
  })
}

function patienceOf({ context, job }: Moving) {
  return { clock: context.ports.clock, signal: job.signal, jobId: job.id }
}

function isLeaving(signal: AbortSignal): boolean {
  return signal.reason instanceof KvasirError && signal.reason.code === 'shutting-down'
}
