/** The event stream as a test watches it: everything from a moment on, each with the time at which it came. */
import assert from 'node:assert/strict'
import type { Event } from '@kvasir/contract'
import type { Client } from '@kvasir/sdk'
import { eventually } from './eventually.ts'

/** Events as they come in. Disposing stops it. */
export interface EventWatch extends Disposable {
  readonly seen: () => readonly Event[]
  /** Waits for an event, past or to come. */
  readonly until: (
    what: string,
    is: (event: Event) => boolean,
    options?: { readonly withinMs?: number },
  ) => Promise<Event>
  /** Settles when the stream has ended; with what it failed with, if it did. */
  readonly ended: Promise<unknown>
}

/** Watches from a sequence number on, across restarts of the daemon. */
export function watchEvents(client: Client, after: number): EventWatch {
  const abort = new AbortController()
  const seen: Event[] = []
  const read = async (): Promise<void> => {
    for await (const event of client.events({ after, signal: abort.signal })) seen.push(event)
  }
  const ended = read().catch((error: unknown) => error)
  return {
    seen: () => seen,
    until: (what, is, { withinMs = 5_000 } = {}) =>
      eventually(async () => seen.find(is), { withinMs, everyMs: 20, what: `event: ${what}` }),
    ended,
    [Symbol.dispose]: () => abort.abort(),
  }
}

/** Asserts that numbers follow each other without gaps. */
export function assertNoGaps(events: readonly Event[]): void {
  for (const [index, event] of events.entries()) {
    const before = events[index - 1]
    if (before) assert.equal(event.seq, before.seq + 1, `After event ${before.seq} came ${event.seq}.`)
  }
}
