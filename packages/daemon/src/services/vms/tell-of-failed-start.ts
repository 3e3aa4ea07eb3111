/** What the row of a VM says after a start that did not come to its end. */
import { KvasirError } from '@kvasir/contract'
import { afterFailedStart } from '../../model/vm/failed-start.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** What a start that failed leaves: what was before it. Saved memory is good for another try until a guest ran from it. */
export function tellOfFailedStart(
  seat: Seat,
  was: { readonly former: VmRecord['life']; readonly saved: VmRecord['saved']; readonly error: unknown },
  ports: Ports,
): void {
  const { former, saved, error } = was
  const reason = error instanceof Error ? error.message : String(error)
  const why =
    error instanceof KvasirError && error.code === 'cancelled' ? 'starting it was cancelled' : reason
  const isLost = former.state === 'saved' && !saved
  const life = isLost ? seat.life('shutoff', 'its saved memory was loaded and is gone') : former
  try {
    seat.update({
      intent: 'none',
      run: undefined,
      saved,
      lifeBeforeStart: undefined,
      restartsBegun: undefined,
      life: afterFailedStart(life, why),
    })
  } catch (cause) {
    ports.log.error({ vm: seat.record.name, err: cause }, 'why a VM did not start could not be stored')
  }
}
