/** Giving up copies of disks: their emulator lets go of them, or has gone over to them already. */
import { KvasirError } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { takePatiently } from '../snapshots/take-patiently.ts'
import { copyNow, writeGivenUp } from './move-rows.ts'
import { settleMoves } from './settle-moves.ts'

const againMs = 100
/** How long an emulator that does not answer, or refuses, is asked; after that, whoever finds it answering does. */
const giveUpMs = 60_000

/** Gives copies up, whatever it takes. Never throws. */
export async function giveUp(
  copies: readonly string[],
  work: { readonly driver: Driver; readonly context: Context; readonly job: JobHandle },
): Promise<void> {
  const { driver, context, job } = work
  const { ports } = context
  for (const id of copies) writeGivenUp(id, ports)
  const signal = AbortSignal.timeout(giveUpMs)
  const isLeft = () => copies.some((id) => copyNow(id, ports.store) !== undefined)
  while (isLeft()) {
    try {
      const patience = { clock: ports.clock, signal, jobId: job.id }
      await takePatiently(driver, 'edit', (seat) => settleMoves(seat, ports), patience)
      if (isLeft()) await ports.clock.sleep(againMs, signal)
    } catch (cause) {
      if (signal.aborted || !mayAnswerYet(cause)) {
        const vm = driver.view().record.name
        ports.log.warn({ vm, err: cause }, 'a copy of a disk is still to be removed')
        return
      }
      await ports.clock.sleep(againMs, signal).catch(() => undefined)
    }
  }
}

function mayAnswerYet(cause: unknown): boolean {
  return (
    cause instanceof KvasirError &&
    (cause.code === 'emulator-unresponsive' || cause.code === 'emulator-failed')
  )
}
