/** Telling of what happened. */
import type { EventKind } from '@kvasir/contract'

/** Stores an event, in the transaction that is open, and tells subscribers once that transaction is committed. */
export type Emit = (kind: EventKind, subject: string, data: Record<string, unknown>) => void
