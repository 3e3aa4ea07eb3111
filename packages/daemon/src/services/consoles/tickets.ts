/**
 * One-time tickets: what lets a WebSocket in, since a browser cannot send it a token.
 *
 * A ticket is shown once, to who asked for it. Kept is only its digest; it is bound to one VM, one channel and one mode, is taken once,
 * and ends by itself.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import type { Clock } from '../../ports/clock.ts'

/** What may be reached with a ticket. */
export type Channel = 'serial' | 'vnc' | 'spice' | 'nbd' | 'channel'

/** How a console is asked for; `take-over` makes a present writer a reader. */
export type ConsoleMode = 'read' | 'write' | 'take-over'

/** What a ticket is good for. */
export interface Grant {
  readonly vmId: string
  /** The VM's name, for sentences. */
  readonly vmName: string
  readonly channel: Channel
  readonly mode: ConsoleMode
  /** Opens what it is for, where the VM alone does not say that. */
  readonly open?: () => Promise<Duplex>
}

/** A ticket as its asker sees it. */
export interface IssuedTicket {
  readonly ticket: string
  /** ISO 8601. */
  readonly expiresAt: string
}

/** How long a ticket may be taken. */
export const ticketLifeMs = 30_000

/** Tickets that may wait to be taken. */
export const maxTickets = 1024

export class Tickets {
  readonly #clock: Clock
  readonly #waiting = new Map<string, { readonly grant: Grant; readonly endsAtMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Makes a ticket; `too-many-requests` when too many wait. */
  issue(grant: Grant): IssuedTicket {
    this.#forgetEnded()
    if (this.#waiting.size >= maxTickets)
      throw new KvasirError(
        'too-many-requests',
        `${maxTickets} tickets wait to be used, so no more are given out for now.`,
      )
    const ticket = randomBytes(32).toString('base64url')
    this.#waiting.set(digest(ticket), { grant, endsAtMs: this.#clock.monotonicMs() + ticketLifeMs })
    const expiresAt = new Date(Date.parse(this.#clock.now()) + ticketLifeMs).toISOString()
    return { ticket, expiresAt }
  }

  /** Takes a ticket; `ticket-invalid` when there is none such, it was taken, has ended, or is for another channel. */
  redeem(ticket: string, channel: Channel): Grant {
    this.#forgetEnded()
    const key = digest(ticket)
    const found = this.#waiting.get(key)
    this.#waiting.delete(key)
    if (found?.grant.channel === channel) return found.grant
    throw new KvasirError(
      'ticket-invalid',
      'The ticket is not known, was used or has ended, so the connection is refused; ask for a new one.',
    )
  }

  #forgetEnded(): void {
    const now = this.#clock.monotonicMs()
    // All live equally long, so the oldest come first.
    for (const [key, { endsAtMs }] of this.#waiting) {
      if (endsAtMs > now) return
      this.#waiting.delete(key)
    }
  }
}

function digest(ticket: string): string {
  return createHash('sha256').update(ticket).digest('hex')
}
