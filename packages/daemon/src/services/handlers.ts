/**
 * What the front doors bind to: a handler for each endpoint of the contract, and the streams.
 *
 * A handler gets parsed input and answers what the contract's response schema says; refusals are thrown as `KvasirError`.
 */
import type { EndpointId, Endpoints, Event } from '@kvasir/contract'
import type { output } from 'zod'

/** Who asks. */
export interface Caller {
  readonly name: string
}

export interface HandlerRequest<Id extends EndpointId> {
  readonly params: output<Endpoints[Id]['params']>
  readonly query: output<Endpoints[Id]['query']>
  readonly body: output<Endpoints[Id]['body']>
  readonly caller: Caller
  /** The revision of If-Match. */
  readonly ifMatch: number | undefined
  /** Our end of the connection, where it comes from a process of this host: its descriptor here. */
  readonly connection: number | undefined
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
  /**
   * Writes the answer down under the request's idempotency key; does nothing without one. Called in the transaction that makes what
   * was asked for, so that a repetition finds the answer exactly when the thing was made, whatever ended the daemon in between.
   */
  readonly keep: (answer: output<Endpoints[Id]['response']>) => void
}

export type Handler<Id extends EndpointId> = (
  request: HandlerRequest<Id>,
) => Promise<output<Endpoints[Id]['response']>>

export type Handlers = { readonly [Id in EndpointId]: Handler<Id> }

/** The stored events and those to come. */
export interface EventFeed {
  range(): { readonly oldest: number; readonly latest: number }
  read(after: number, limit: number): readonly Event[]
  /** Tells of each event after it was stored, in order. Answers the way to stop. */
  subscribe(listener: (event: Event) => void): () => void
}
