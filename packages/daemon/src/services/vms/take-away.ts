/** Takes a device away from a guest that runs: it is asked, and what is left goes when it has let go. The seat is free while it is waited for. */
import { KvasirError } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import { capital, type MovingKind, type MovingTask } from './moving-kind.ts'

/** How long a guest may take to let go of one device. */
export const releaseTimeoutMs = 30_000
/** Events are hints: the emulator is asked this often whether they came. */
const lookMs = 1_000

/** Answers what came of it; `guest-refused` when the guest keeps it. */
export async function takeAway(name: string, task: MovingTask): Promise<string> {
  const { kind, driver, answers, ports, signal, onStep, inSeat } = task
  const gone = `${capital(kind.noun)} ${name} is gone.`
  onStep(`waiting for the guest to let go of ${kind.noun} ${name}`)
  if (await inSeat((seat) => askOrFinish(seat, name, task))) return gone
  const deadlineMs = ports.clock.monotonicMs() + releaseTimeoutMs
  for (;;) {
    const { record } = driver.view()
    if (answers.hasRefused(name)) throw keeps(task, name, 'it refuses to let go of it')
    if (record.life.state === 'paused')
      throw keeps(task, name, 'it stands still, and is asked again when it goes on')
    const leftMs = deadlineMs - ports.clock.monotonicMs()
    if (leftMs <= 0) throw keeps(task, name, `it did not let go of it in ${releaseTimeoutMs / 1000} s`)
    await answers.next(Math.min(lookMs, leftMs), { ports, signal })
    if (await inSeat((seat) => finishGone(seat, name, { kind, ports }))) return gone
  }
}

/** Asks the guest, unless it has let go of the device already. Answers whether it has. */
async function askOrFinish(
  seat: Seat,
  name: string,
  { kind, emulator, ports }: MovingTask,
): Promise<boolean> {
  if (await finishGone(seat, name, { kind, ports })) return true
  await ports.failpoint(kind.points.beforeAsk)
  await kind.part(emulator).askFor(name)
  await ports.failpoint(kind.points.afterAsk)
  // What asks no guest is gone already, also of one that stands still.
  return await finishGone(seat, name, { kind, ports })
}

/** Removes what is left of a device once the guest has let go of it, asked or by itself. Answers whether it has. */
export async function finishGone(
  seat: Seat,
  name: string,
  { kind, ports }: { readonly kind: MovingKind; readonly ports: Ports },
): Promise<boolean> {
  const { emulator } = seat
  if (!emulator || (await kind.part(emulator).present([name])).length > 0) return false
  await ports.failpoint(kind.points.afterRelease)
  await kind.remove(seat, emulator, name)
  await ports.failpoint(kind.points.afterRemove)
  const { run } = seat.record
  if (run) seat.update({ run: kind.without(run, { name, emulator: emulator.record }) })
  return true
}

function keeps({ kind, driver }: MovingTask, name: string, why: string): KvasirError {
  return new KvasirError(
    'guest-refused',
    `The guest of VM ${driver.view().record.name} keeps ${kind.noun} ${name}: ${why}. It goes with its next boot, or before when the guest lets go.`,
    { details: { device: name } },
  )
}
