/**
 * Events: stored in the transaction of what they tell of, and told to subscribers only after that transaction has ended.
 *
 * Subscribers are fed from the store, never from memory: what was rolled back is never told.
 */
import type { Event } from '@kvasir/contract'
import type { Clock } from '../ports/clock.ts'
import type { Emit } from '../ports/events.ts'
import type { Store } from '../ports/store.ts'

/** Events handed to subscribers in one go. */
const batchSize = 500

export interface StoredFeed {
  emit: Emit
  range(): { readonly oldest: number; readonly latest: number }
  read(after: number, limit: number): readonly Event[]
  subscribe(listener: (event: Event) => void): () => void
  /** Tells what is stored and not yet told, then no more. Called before the store closes. */
  close(): void
}

/** The feed over a store. */
export function createEventFeed(store: Store, clock: Clock): StoredFeed {
  const listeners = new Set<(event: Event) => void>()
  let told = store.events.range().latest
  let scheduled = false
  let closed = false

  function tell(): void {
    scheduled = false
    if (closed) return
    if (listeners.size === 0) {
      told = store.events.range().latest
      return
    }
    for (;;) {
      const batch = store.events.read(told, batchSize)
      for (const event of batch) {
        told = event.seq
        for (const listener of listeners) listener(event)
      }
      if (batch.length < batchSize) return
    }
  }

  return {
    emit(kind, subject, data) {
      store.events.append({ kind, subject, at: clock.now(), data })
      if (scheduled) return
      scheduled = true
      // Store transactions are synchronous, so by the next turn of the loop this one was committed or rolled back.
      setImmediate(tell)
    },
    range: () => store.events.range(),
    read: (after, limit) => store.events.read(after, limit),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      tell()
      closed = true
    },
  }
}
