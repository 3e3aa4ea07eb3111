/**
 * Recovery of one VM: what its row meant to do, and what is found of it on the host, decide together.
 *
 *     intent        emulator runs              emulator stands            gone
 *     none          adopt                      adopt (paused, panicked)   crashed, unless it was off
 *     start         adopt                      end; a restore: resume     as before it: shutoff, crashed, saved; `restart` if it was that
 *     stop          wait for the guest         end if off, else adopt     shutoff
 *     reboot        adopt                      reset and resume           crashed
 *     save          go on                      go on                      crashed
 *
 * An emulator that was being ended (intents `end`, `end-crashed`, `restart`, and `save` once the memory is saved) is not asked: it is
 * removed, whatever it does, and the VM is what it was to become.
 */

import { afterFailedStart } from '../../model/vm/failed-start.ts'
import { isOff } from '../../model/vm/is-off.ts'
import { stateFromRunState } from '../../model/vm/run-state.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { decodeMemo } from '../../ports/vm-memo.ts'
import { bootedSpec, forgetNotes } from '../checkpoints/put-away.ts'
import type { Context } from '../context.ts'
import { settleMoves } from '../moves/settle-moves.ts'
import { forgetPlacement, readBackPlacement } from '../placement/read-back.ts'
import { settleSnapshots } from '../snapshots/settle-snapshots.ts'
import { actionsInLine, bringMemoryInLine, linksInLine, throttleInLine } from '../vms/bring-in-line.ts'
import { endEmulator, finishEnding, isEnding } from '../vms/end-emulator.ts'
import { noteLimits, tellOutsideLimits } from '../vms/outside-limits.ts'
import { type PoolTrouble, silentReason } from '../vms/pool-trouble.ts'
import { noteVcpus } from '../vms/set-vcpus.ts'
import { tuneAdopted } from '../vms/tune-threads.ts'

const keptLogCharacters = 2_000
/** Starts by itself that end with their daemon, one after the other: more of them may be why it ends. */
const mostRestarts = 3

interface RecoveryParts extends Pick<Context, 'ports' | 'emit'> {
  /** What is amiss with the pools of a VM's disks, as far as it is known. */
  readonly poolTrouble: (record: VmRecord) => readonly PoolTrouble[]
}

/** Brings one VM's row and the host together. */
export async function recoverVm(
  seat: Seat,
  { ports, emit, poolTrouble }: RecoveryParts,
  options: { readonly timeoutMs: number },
): Promise<void> {
  const { record } = seat
  if (isEnding(record)) {
    await finishEnding(seat, ports)
    await settleSnapshots(seat, ports)
    await settleMoves(seat, ports)
    return
  }
  const found = await ports.emulators.adopt(record.id, options)
  if (found.kind === 'unresponsive') {
    const said = `its emulator (pid ${found.pid}) does not answer: ${found.reason}`
    noteSilence(seat, silentReason(poolTrouble(record), said))
    return
  }
  if (found.kind === 'gone') {
    await ports.emulators.clean(record.id)
    recoverGone(seat, { log: found.log, bootId: ports.bootId })
    if (!seat.record.saved) await ports.files.removeSave(record.id)
    forgetPlacement(seat, { ports, emit })
    await settleSnapshots(seat, ports)
    await settleMoves(seat, ports)
    return
  }
  seat.attach(found.emulator)
  await readBackPlacement(seat, { ports, emit })
  await recoverAlive(seat, found.emulator, ports)
  await settleSnapshots(seat, ports)
  await settleMoves(seat, ports)
  if (!seat.emulator) return
  noteVcpus(seat, (await found.emulator.vcpuThreads()).length)
  await tellOutsideLimits(seat, { ports, emit })
}

/** A VM whose emulator does not answer: nothing is known of it but why. What its pools do is learned later than that it is silent. */
export function noteSilence(seat: Seat, reason: string): void {
  const { life } = seat.record
  if (life.state !== 'unknown') seat.update({ life: seat.life('unknown', reason) })
  else if (life.reason !== reason) seat.update({ life: { ...life, reason } })
}

function recoverGone(seat: Seat, { log, bootId }: { readonly log: string; readonly bootId: string }): void {
  const { life, intent, saved, run, spec } = seat.record
  const off = isOff(seat.record) && intent === 'none'
  if (off) return
  const base = { intent: 'none' as const, run: undefined, lifeBeforeStart: undefined }
  if (intent === 'start') seat.update({ ...base, ...afterStart(seat) })
  else if (saved) seat.update({ ...base, life: seat.life('saved', 'its memory was saved') })
  else if (intent === 'stop')
    seat.update({ ...base, life: seat.life('shutoff', 'it was shut down on request') })
  else if (life.state === 'unknown' && !run)
    seat.update({ ...base, life: seat.life('shutoff', 'nothing of it was found running') })
  else {
    const exit = { log: log.slice(-keptLogCharacters) }
    const reason = 'its emulator ended while nobody was watching'
    // When the host has booted since, nothing crashed; what starts then, autostart says.
    const again = spec.lifecycle.onCrash === 'restart' && run?.emulator.bootId === bootId
    if (again)
      seat.update({
        run: undefined,
        intent: 'restart',
        life: seat.life('crashed', `${reason}; it is being started again`, exit),
      })
    else seat.update({ ...base, life: seat.life('crashed', reason, exit) })
  }
}

/**
 * What a VM is again when the daemon died before its guest ran. One that was being started by itself, as after a revert, is started again,
 * unless the memory that it was to go on with is gone.
 */
function afterStart(seat: Seat): Pick<VmRecord, 'intent' | 'life' | 'restartsBegun'> {
  const { saved, lifeBeforeStart, restartsBegun } = seat.record
  const wasSaved = lifeBeforeStart?.state === 'saved'
  const isAsBefore = lifeBeforeStart !== undefined && wasSaved === (saved !== undefined)
  const reason = saved ? 'its memory was saved' : wasSaved ? 'its saved memory was loaded and is gone' : ''
  const former = isAsBefore ? lifeBeforeStart : seat.life(saved ? 'saved' : 'shutoff', reason)
  const life = afterFailedStart(former, 'the daemon ended while it was being started')
  const again = isAsBefore && restartsBegun !== undefined && restartsBegun < mostRestarts
  return again
    ? { intent: 'restart', life, restartsBegun }
    : { intent: 'none', life, restartsBegun: undefined }
}

async function recoverAlive(seat: Seat, emulator: Emulator, ports: Ports): Promise<void> {
  const runState = await emulator.runState()
  const { intent } = seat.record
  switch (intent) {
    case 'start':
      await recoverStart(seat, { emulator, runState, ports })
      return
    case 'stop':
      await recoverStop(seat, runState, ports)
      return
    case 'save':
    case 'save-paused':
      await recoverSave(seat, emulator, ports)
      return
    case 'reboot':
      if (runState === 'shutdown') {
        await emulator.reset()
        await emulator.resume()
        await adoptAs(seat, 'running', ports)
        return
      }
      await adoptAs(seat, runState, ports)
      return
    case 'none':
    case 'end':
    case 'end-crashed':
    case 'restart':
      if (runState === 'prelaunch' || runState === 'inmigrate')
        await endEmulator(seat, ports, {
          state: 'shutoff',
          reason: 'it was found before its first instruction',
        })
      else await adoptAs(seat, runState, ports)
  }
}

interface Found {
  readonly emulator: Emulator
  readonly runState: string
  readonly ports: Ports
}

/** A start is complete once the guest runs. A restore whose saved memory was forgotten must go on: the memory is only there. */
async function recoverStart(seat: Seat, { emulator, runState, ports }: Found): Promise<void> {
  if (runState === 'prelaunch' || runState === 'inmigrate' || (runState === 'paused' && seat.record.saved)) {
    await endUnstarted(seat, ports)
    return
  }
  await forgetNotes(bootedSpec(seat.record), ports)
  if (runState === 'paused') await emulator.resume()
  await adoptAs(seat, runState === 'paused' ? 'running' : runState, ports)
  await ports.files.removeSave(seat.record.id)
}

/** It is what it was before. A daemon that dies in the middle of this is followed by one that finds it gone, or does it again. */
async function endUnstarted(seat: Seat, ports: Ports): Promise<void> {
  const { emulator } = seat
  seat.detach()
  await emulator?.end({ graceMs: 0 })
  await ports.emulators.clean(seat.record.id)
  seat.update({ run: undefined, lifeBeforeStart: undefined, ...afterStart(seat) })
}

/**
 * A guest that was asked to shut down is waited for: its shutdown arrives as an event. One that stands for another reason has not
 * shut down, and does not until somebody lets it go on.
 */
async function recoverStop(seat: Seat, runState: string, ports: Ports): Promise<void> {
  if (runState !== 'running' && runState !== 'shutdown') {
    await adoptAs(seat, runState, ports)
    return
  }
  if (runState === 'shutdown') {
    await endEmulator(seat, ports, { state: 'shutoff', reason: 'it was shut down on request' })
    return
  }
  if (seat.record.life.state !== 'stopping')
    seat.update({ life: seat.life('stopping', 'its guest was asked to shut down') })
}

/** A save that was not finished is given up. Its migration must have ended before: it would stop the guest once more. */
async function recoverSave(seat: Seat, emulator: Emulator, ports: Ports): Promise<void> {
  await emulator.abandonSave()
  const resume = seat.record.intent === 'save'
  if (resume) await emulator.resume()
  await adoptAs(seat, resume ? 'running' : await emulator.runState(), ports)
  await ports.files.removeSave(seat.record.id)
}

/**
 * Follows the emulator as what it says it is. The row of a run is mended from the memo where it is missing. Memory that a mended row
 * says was saved is in this emulator, or older than it.
 */
async function adoptAs(seat: Seat, runState: string, ports: Ports): Promise<void> {
  await forgetNotes(bootedSpec(seat.record), ports)
  const seen = stateFromRunState(runState)
  const { life } = seat.record
  const isSame = life.state === seen.state
  seat.update({
    intent: 'none',
    saved: undefined,
    lifeBeforeStart: undefined,
    restartsBegun: undefined,
    run: seat.record.run ?? (await runFromMemo(seat, ports)),
    life: isSame ? life : seat.life(seen.state, seen.reason),
  })
  const isTold = await tellSpec(seat, ports)
  if ((await tuneAdopted(seat, ports)) && isTold) noteLimits(seat)
}

/** A former daemon may have died between writing a change and telling the emulator. One that does not listen is adopted all the same. */
async function tellSpec({ record, emulator }: Seat, ports: Ports): Promise<boolean> {
  if (!emulator) return false
  try {
    await bringMemoryInLine(record, emulator)
    await actionsInLine(record, emulator)
    await throttleInLine(record, emulator)
    if (record.spec.nics.length > 0) await linksInLine(record, emulator)
    return true
  } catch (cause) {
    ports.log.warn({ vm: record.name, err: cause }, 'an adopted emulator was not told what its spec says')
    return false
  }
}

async function runFromMemo(seat: Seat, ports: Ports): Promise<VmRun | undefined> {
  const { emulator, record } = seat
  if (!emulator) return undefined
  const memo = decodeMemo((await ports.emulators.memo(record.id)) ?? '')
  return {
    emulator: emulator.record,
    accelerator: memo?.accelerator ?? 'tcg',
    acceleratorReason: memo?.acceleratorReason ?? 'it was found running',
    bootedSpec: memo?.record.spec ?? record.spec,
    bootedHardware: memo?.record.hardware ?? record.hardware,
  }
}
