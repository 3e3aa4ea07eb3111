/** Moves a disk with its snapshots while its VM is off: each layer onto the copy of the last, the disk's own volume too. */
import { type Job, KvasirError } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { type Asked, beginCopyJob } from '../volumes/copy-volume.ts'
import { requireOff } from '../volumes/hold-volume.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { type MoveRequest, type PlannedMove, planMove, writeRows } from './begin-move.ts'
import { copyLayer, copyLayers, removeLeft } from './copy-layers.ts'
import { requireRoom } from './fill-volume.ts'
import { leftBy } from './layer-rows.ts'
import { type CopyRecord, copyNow, writeDone, writeGivenUp, writeSwitched } from './move-rows.ts'
import { settleMoves } from './settle-moves.ts'

/** Begins to move a disk that has layers. The job's result is the name of its volume. */
export function beginMoveLayersOff(
  driver: Driver,
  { planned, request }: { readonly planned: PlannedMove; readonly request: MoveRequest },
  asked: Asked,
): Job {
  const { context } = asked
  const { volume } = planned
  return beginCopyJob('volume.convert', volume, asked, async (job, seats) => {
    requireOff(volume, seats, 'is not moved')
    const seat = seats.find(({ record }) => record.id === driver.id)
    if (!seat) throw new KvasirError('volume-not-found', `Disk ${request.disk} is on another volume by now.`)
    requireSettled(seat.record, context.ports)
    const again = planMove(seat.record, request, context)
    const look = { from: again.volume, force: request.force, signal: job.signal, isLive: false }
    if (again.into) await requireRoom(again.into, look, context.ports)
    await context.ports.failpoint('vm.move.before-row')
    const copy = writeRows(seat.record, again, context)
    const left = leftBy(copy, context.ports.store)
    await copyAll(seat, copy, { asked, job, bytesPerSecond: request.speed })
    await removeLeft(left, context)
    return copy.name
  })
}

async function copyAll(
  seat: Seat,
  copy: CopyRecord,
  work: { readonly asked: Asked; readonly job: JobHandle; readonly bytesPerSecond: number },
): Promise<void> {
  const { asked, job, bytesPerSecond } = work
  const { context } = asked
  const { ports } = context
  try {
    await ports.failpoint('vm.move.after-row')
    await copyLayers(copy, { ports, job, bytesPerSecond, isLive: false })
    const onProgress = (fraction: number) => job.progress(`copying disk ${copy.move.disk}`, fraction)
    const work = { ports, signal: job.signal, bytesPerSecond, onProgress, isLive: false }
    await copyLayer(copy, { ...work, copyId: copy.id })
    await ports.failpoint('vm.move.after-file')
    job.conclude(copy.name, () => {
      writeSwitched(seat, copyNow(copy.id, ports.store) ?? copy, ports) // Its volume may be larger than was planned.
      const now = copyNow(copy.id, ports.store)
      if (now) writeDone(now, ports)
      const { id, pool, format } = copy
      context.emit('volume.changed', volumeWords(copy), { id, pool, format })
    })
  } catch (error) {
    writeGivenUp(copy.id, ports)
    await settleMoves(seat, ports)
    throw error
  }
}
