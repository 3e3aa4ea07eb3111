/** What the API is made of. Wired in main.ts. */
import type { ConsoleDesk } from '../services/consoles/console-desk.ts'
import type { EventFeed, Handlers } from '../services/handlers.ts'

/** Where the API tells of defects. */
export interface ApiLog {
  debug(fields: Record<string, unknown>, message: string): void
  info(fields: Record<string, unknown>, message: string): void
  warn(fields: Record<string, unknown>, message: string): void
  error(fields: Record<string, unknown>, message: string): void
}

/** Where answers to requests with an Idempotency-Key are kept, for a day. */
export interface AnswerStore {
  find(
    key: string,
  ): { readonly requestHash: string; readonly status: number; readonly body: string } | undefined
  remember(
    key: string,
    answer: { readonly requestHash: string; readonly status: number; readonly body: string },
    at: string,
  ): void
}

/** A bearer token of the TCP listener, known only by its digest. */
export interface ApiToken {
  /** Who carries it. */
  readonly name: string
  /** SHA-256 of the token, in hexadecimal. */
  readonly sha256: string
}

export interface ApiOptions {
  readonly handlers: Handlers
  readonly feed: EventFeed
  readonly consoles: ConsoleDesk
  /** The Prometheus exposition. */
  readonly metrics: { render(): Promise<{ readonly contentType: string; readonly body: string }> }
  readonly idempotency: AnswerStore
  readonly log: ApiLog
  /** The time of day, as an ISO 8601 string. */
  readonly now: () => string
  /** Who may use the TCP listener. */
  readonly tokens: readonly ApiToken[]
  /** Web origins besides the API's own that may open streams and change things, e.g. `https://kvasir.example`. */
  readonly origins?: readonly string[]
  /** Checks every answer against the contract: for tests and development. */
  readonly validateResponses?: boolean
}
