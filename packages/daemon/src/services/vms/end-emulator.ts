/**
 * Ends a VM's emulator: the one way in which a VM gets from running to `shutoff`, `crashed` or `saved`.
 *
 *     intent `end`, `end-crashed` or `restart` ─▶ notes of raw disks put away ─▶ quit, then kill ─▶ remove what it had on the host ─▶ the final state
 *
 * From the intent on there is one way, forward: recovery goes on where this stopped. A step that fails is no excuse to lose the VM:
 * the host is asked again what is true.
 */
import { isOff } from '../../model/vm/is-off.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { putNotesAway, removeNotes, writeNotes } from '../checkpoints/put-away.ts'
import { settleMoves } from '../moves/settle-moves.ts'
import { settleSnapshots } from '../snapshots/settle-snapshots.ts'

/** How long QEMU may take to quit by itself before it is killed. Its disks are write-through or flushed by the guest. */
const quitGraceMs = 2_000
/** How long an emulator that could not be ended is asked whether it lives. */
const lookAgainMs = 2_000

/** What a VM is when its emulator has ended, and why. */
export interface Ending {
  readonly state: 'shutoff' | 'crashed' | 'saved'
  readonly reason: string
  readonly exit?: { readonly code?: number; readonly signal?: string; readonly log: string }
  /** It is being started again after this, which outlives the daemon. */
  readonly restarts?: boolean
}

/** Cuts the power of a VM whose seat is held, and leaves it in its final state with a reason. */
export async function endEmulator(seat: Seat, ports: Ports, ending: Ending): Promise<void> {
  const before = seat.record
  const { emulator } = seat
  await ports.failpoint('vm.stop.before-intent')
  seat.update({ intent: intentOf(before, ending) })
  let noted: readonly string[] = []
  try {
    await ports.failpoint('vm.stop.after-intent')
    noted = await putNotesAway(seat, ports)
    seat.detach()
    await emulator?.end({ graceMs: quitGraceMs })
    await ports.emulators.clean(before.id)
    await ports.failpoint('vm.stop.after-end')
  } catch (error) {
    seat.detach()
    await emulator?.release()
    await removeNotes(noted, ports)
    await lookAgain(seat, ports, { before, ending })
    throw error
  }
  conclude(seat, ending, () => writeNotes(before, noted, ports))
  await settleSnapshots(seat, ports) // Before the next start: which files the guest wrote to is decided by then.
  await settleMoves(seat, ports)
  await ports.failpoint('vm.stop.after-state')
}

/** Finishes an end that a former daemon began: nobody is asked, everything is removed. */
export async function finishEnding(seat: Seat, ports: Ports): Promise<void> {
  await ports.emulators.clean(seat.record.id)
  const isOnlyToStart = seat.record.intent === 'restart' && isOff(seat.record)
  if (!isOnlyToStart) conclude(seat, endingOf(seat.record))
}

/** Whether a record says that its emulator was being ended. */
export function isEnding({ intent, saved }: VmRecord): boolean {
  if (intent === 'save' || intent === 'save-paused') return saved !== undefined
  return intent === 'end' || intent === 'end-crashed' || intent === 'restart'
}

/** A VM whose memory is saved keeps its intent, which says just that. */
function intentOf({ intent, saved }: VmRecord, ending: Ending): VmRecord['intent'] {
  if (saved && (intent === 'save' || intent === 'save-paused')) return intent
  if (ending.restarts) return 'restart'
  return ending.state === 'crashed' ? 'end-crashed' : 'end'
}

function endingOf({ intent, saved }: VmRecord): Ending {
  if (saved) return { state: 'saved', reason: 'its memory was saved' }
  if (intent === 'end-crashed')
    return { state: 'crashed', reason: 'it crashed, and the daemon ended meanwhile' }
  if (intent === 'restart') return { state: 'shutoff', reason: 'it is being started again', restarts: true }
  return { state: 'shutoff', reason: 'it was powered off' }
}

function conclude(seat: Seat, ending: Ending, alongside?: () => void): void {
  const ended = {
    intent: ending.restarts ? 'restart' : 'none',
    run: undefined,
    life: seat.life(ending.state, ending.reason, ending.exit),
  } as const
  seat.update(ended, alongside)
}

/** After a step that failed: it ended all the same, or it runs on as before, or nobody knows. */
async function lookAgain(
  seat: Seat,
  ports: Ports,
  { before, ending }: { readonly before: VmRecord; readonly ending: Ending },
): Promise<void> {
  const found = await ports.emulators.adopt(before.id, { timeoutMs: lookAgainMs })
  if (found.kind === 'alive') {
    seat.attach(found.emulator)
    seat.update({ intent: before.intent, life: before.life })
    return
  }
  if (found.kind === 'unresponsive') {
    const reason = `its emulator (pid ${found.pid}) could not be ended: ${found.reason}`
    seat.update({ life: seat.life('unknown', reason) })
    return
  }
  conclude(seat, ending)
  await settleSnapshots(seat, ports)
  await settleMoves(seat, ports)
  await ports.emulators.clean(before.id)
}
