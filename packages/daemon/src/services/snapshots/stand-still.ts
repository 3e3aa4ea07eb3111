/** A guest that stands for a moment. The intent is that of saving, so that recovery lets it go on whatever breaks this off. */
import type { Seat } from '../../ports/drivers.ts'

/** Does work while the guest of a running VM stands; of any other, just does it. */
export async function whileStanding<T>(seat: Seat, reason: string, work: () => Promise<T>): Promise<T> {
  const { emulator, record } = seat
  const { life } = record
  if (!emulator || life.state !== 'running') return await work()
  seat.update({ intent: 'save', life: seat.life('paused', reason) })
  try {
    await emulator.pause()
    return await work()
  } finally {
    await emulator.resume()
    seat.update({ intent: 'none', life })
  }
}
