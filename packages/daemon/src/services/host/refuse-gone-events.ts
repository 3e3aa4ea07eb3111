/** Events that can no longer be had. */
import { KvasirError } from '@kvasir/contract'
import type { EventFeed } from '../handlers.ts'

/** `events-gone` when what followed a number is not kept any more, or the number was never given out. */
export function refuseGoneEvents(feed: EventFeed, after: number): void {
  const { oldest, latest } = feed.range()
  if (after >= oldest - 1 && after <= latest) return
  const reason =
    after > latest
      ? `The last event has the number ${latest}, so there is nothing after ${after} to go on from.`
      : `Events before number ${oldest} are no longer kept, so what followed number ${after} is lost.`
  throw new KvasirError('events-gone', reason, { details: { oldest, latest } })
}
