/**
 * A move of a disk that was broken off, by whatever: the row of the copy and what the emulator has open say what becomes of it.
 *
 *     copy         emulator copies     holds the disk     went over     has no copy     no emulator
 *     creating     goes on             goes over          goes over     undone          undone
 *     ready        taken back          goes over          finished      taken back      finished
 *     deleting     undone              undone             -             undone          undone
 *
 * A volume that was there before takes the part of the copy with the same steps (move-rows.ts, `stepOf`); undone, it is free.
 *
 * A copy that is an export never becomes the disk: it is undone, or, `ready`, let go of. The scratch of an instant is always undone.
 *
 * The copy is `ready` only from a moment in which it was the same as the disk, flushed, and the guest's requests waited. So without an
 * emulator it is the disk, whichever of the two was written to last: after that moment, it was this one.
 */
import { isOff } from '../../model/vm/is-off.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import { layerOptions } from '../snapshots/layer-options.ts'
import { freeFilled } from '../volumes/settle-work.ts'
import { discardVolume } from '../volumes/volume-files.ts'
import { asVolume, layerCopiesOf } from './layer-rows.ts'
import {
  type CopyRecord,
  copyNow,
  movesOf,
  stepOf,
  writeBack,
  writeDone,
  writeLetGo,
  writeSwitched,
} from './move-rows.ts'

/** Settles the moves of a VM's disks; one whose copying goes on is left to whoever follows it. Removes no former volume. */
export async function settleMoves(seat: Seat, ports: Ports): Promise<void> {
  for (const copy of movesOf(seat.record.id, ports.store)) await settleMove(seat, copy, ports)
}

async function settleMove(seat: Seat, copy: CopyRecord, ports: Ports): Promise<void> {
  const { emulator } = seat
  if (copy.move.exports) {
    if (!emulator && !isOff(seat.record)) return
    const name = { disk: copy.move.disk, id: copy.id }
    if (copy.move.scratch) await emulator?.blocks.instants.end(name)
    else await emulator?.blocks.mirrors.abandon(name)
    if (copy.phase === 'ready') writeLetGo(copy, ports)
    else await undo(copy, ports)
    return
  }
  if (!emulator) {
    if (!isOff(seat.record)) return
    if (stepOf(copy) === 'ready') writeDone(copy, ports)
    else await undo(copy, ports)
    return
  }
  const name = { disk: copy.move.disk, id: copy.id }
  const state = await emulator.blocks.mirrors.state(name)
  if (stepOf(copy) === 'creating') {
    if (state === 'copying') return
    if (state === 'absent') await takeBack(emulator, copy, ports)
    else {
      writeSwitched(seat, copy, ports)
      await finishMove(seat, copy.id, ports)
    }
    return
  }
  if (stepOf(copy) === 'deleting') await takeBack(emulator, copy, ports)
  else if (state === 'held' || state === 'over') await finishMove(seat, copy.id, ports)
  else {
    writeBack(seat, copy, ports)
    await takeBack(emulator, copyNow(copy.id, ports.store) ?? copy, ports) // It has another name now.
  }
}

/** Has the emulator go over to a copy that the store says is the disk, and writes that it did. */
async function finishMove(seat: Seat, id: string, ports: Ports): Promise<void> {
  await finishGoingOver(seat, id, ports)
  const copy = copyNow(id, ports.store)
  if (copy) writeDone(copy, ports)
}

/** Has the emulator go over to a copy that the store says is the disk. */
export async function finishGoingOver(seat: Seat, id: string, ports: Ports): Promise<void> {
  const copy = copyNow(id, ports.store)
  const { emulator, record } = seat
  const disk = record.spec.disks.find((one) => one.name === copy?.move.disk)
  if (!copy || !emulator || !disk) return
  await emulator.blocks.mirrors.finish(
    { disk: disk.name, id },
    layerOptions({ disk, volume: copy }, record, ports),
  )
}

async function takeBack(emulator: Emulator, copy: CopyRecord, ports: Ports): Promise<void> {
  await emulator.blocks.mirrors.abandon({ disk: copy.move.disk, id: copy.id })
  await undo(copy, ports)
}

/** The copy goes, or is free if it was there before, and nothing is done to the volume any more. */
async function undo(copy: CopyRecord, ports: Ports): Promise<void> {
  const { store } = ports
  const { move, ...row } = copy
  // From the top down, so that nothing lies on what is removed.
  const layers = layerCopiesOf(copy.id, store).toReversed()
  const filled = layers.filter((layer) => layer.move.into).map(asVolume)
  const rows = [copy, ...layers.filter((layer) => !layer.move.into)].map(asVolume)
  store.transaction(() => {
    if (move.into) freeFilled(row, ports)
    else for (const one of rows) store.volumes.update({ ...one, phase: 'deleting' })
    for (const one of filled) freeFilled(one, ports)
    const former = store.volumes.get(move.fromId)
    if (former?.work !== 'moved' && former?.work !== 'exported') return
    const { work: _, ...free } = former
    store.volumes.update(free)
  })
  if (!move.into) for (const one of rows) await discardVolume(one, ports)
}
