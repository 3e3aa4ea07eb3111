/** Takes a NIC away from a guest that runs: it is asked, and what is left goes when it has let go. The seat is free while it is waited for. */
import { KvasirError } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import { withoutGoneNic } from './moved-nics.ts'
import type { NicTask } from './set-nics.ts'

/** How long a guest may take to let go of one NIC. */
export const releaseTimeoutMs = 30_000
/** Events are hints: the emulator is asked this often whether they came. */
const lookMs = 1_000

/** Answers what came of it; `guest-refused` when the guest keeps it. */
export async function takeNicAway(nic: string, task: NicTask): Promise<string> {
  const { driver, answers, ports, signal, onStep, inSeat } = task
  onStep(`waiting for the guest to let go of NIC ${nic}`)
  if (await inSeat((seat) => askOrFinish(seat, nic, task))) return `NIC ${nic} is gone.`
  const deadlineMs = ports.clock.monotonicMs() + releaseTimeoutMs
  for (;;) {
    const { record } = driver.view()
    if (answers.hasRefused(nic)) throw keeps(task, nic, 'it refuses to let go of it')
    if (record.life.state === 'paused')
      throw keeps(task, nic, 'it stands still, and is asked again when it goes on')
    const leftMs = deadlineMs - ports.clock.monotonicMs()
    if (leftMs <= 0) throw keeps(task, nic, `it did not let go of it in ${releaseTimeoutMs / 1000} s`)
    await answers.next(Math.min(lookMs, leftMs), { ports, signal })
    if (await inSeat((seat) => finishGoneNic(seat, nic, ports))) return `NIC ${nic} is gone.`
  }
}

/** Asks the guest, unless it has let go of the NIC already. Answers whether it has. */
async function askOrFinish(seat: Seat, nic: string, { emulator, ports }: NicTask): Promise<boolean> {
  if (await finishGoneNic(seat, nic, ports)) return true
  await ports.failpoint('vm.nics.before-ask')
  await emulator.nics.askFor(nic)
  await ports.failpoint('vm.nics.after-ask')
  return false
}

/** Removes what is left of a NIC once the guest has let go of it, asked or by itself. Answers whether it has. */
export async function finishGoneNic(seat: Seat, nic: string, ports: Ports): Promise<boolean> {
  const { emulator } = seat
  if (!emulator || (await emulator.nics.present([nic])).length > 0) return false
  await ports.failpoint('vm.nics.after-release')
  await emulator.nics.remove(nic)
  await ports.failpoint('vm.nics.after-remove')
  const { run } = seat.record
  if (run) seat.update({ run: withoutGoneNic(run, { nic, emulator: emulator.record }) })
  return true
}

function keeps({ driver }: NicTask, nic: string, why: string): KvasirError {
  return new KvasirError(
    'guest-refused',
    `The guest of VM ${driver.view().record.name} keeps NIC ${nic}: ${why}. It goes with its next boot, or before when the guest lets go.`,
    { details: { nic } },
  )
}
