/**
 * The event stream: the stored events after a number, then all that follow, each once and in order.
 *
 * Invariant: what is sent always comes from the feed after `cursor`; news of an event only wakes the reading. So nothing is lost or
 * said twice however events and reading interleave, and a slow client costs no memory: it is read for again when it has caught up.
 */
import type { Event } from '@kvasir/contract'
import type { WebSocket } from 'ws'
import type { EventFeed } from '../../services/handlers.ts'
import { closeCodes, streamLimits } from './limits.ts'
import { closeSocket } from './open-socket.ts'

/** Sends events until the socket closes. */
export function streamEvents(socket: WebSocket, feed: EventFeed, after: number): void {
  const stream = new EventStream(socket, feed, after)
  stream.pump()
}

class EventStream {
  readonly #socket: WebSocket
  readonly #feed: EventFeed
  #cursor: number
  #woken = false
  #stall: NodeJS.Timeout | undefined

  constructor(socket: WebSocket, feed: EventFeed, after: number) {
    this.#socket = socket
    this.#feed = feed
    this.#cursor = after
    const unsubscribe = feed.subscribe((event) => this.#hear(event))
    socket.once('close', () => {
      unsubscribe()
      clearTimeout(this.#stall)
    })
  }

  /** Sends what is stored until all is sent or the client has enough to read. */
  pump(): void {
    this.#woken = false
    while (this.#socket.readyState === this.#socket.OPEN) {
      if (this.#isFull()) {
        this.#waitForReader()
        return
      }
      const batch = this.#feed.read(this.#cursor, streamLimits.eventBatch)
      const next = batch[0]
      if (!next) return
      if (next.seq !== this.#cursor + 1 && this.#feed.range().oldest === next.seq) {
        closeSocket(this.#socket, closeCodes.tryAgain, 'you read too slowly: events were lost')
        return
      }
      for (const event of batch) this.#send(event)
    }
  }

  /** The next event goes out at once; any other one means that stored events come first. */
  #hear(event: Event): void {
    if (this.#woken || this.#stall || event.seq <= this.#cursor) return
    if (event.seq === this.#cursor + 1 && !this.#isFull()) {
      this.#send(event)
      return
    }
    this.#woken = true
    setImmediate(() => this.pump())
  }

  #send(event: Event): void {
    this.#cursor = event.seq
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(event))
  }

  #isFull(): boolean {
    return this.#socket.bufferedAmount > streamLimits.unsentBytes
  }

  #waitForReader(): void {
    if (this.#stall) return
    const since = Date.now()
    const look = () => {
      this.#stall = undefined
      if (this.#socket.readyState !== this.#socket.OPEN) return
      if (!this.#isFull()) return this.pump()
      if (Date.now() - since > streamLimits.stallMs)
        return closeSocket(
          this.#socket,
          closeCodes.tryAgain,
          'you read too slowly: go on from your last event',
        )
      this.#stall = setTimeout(look, stallLookMs)
    }
    this.#stall = setTimeout(look, stallLookMs)
  }
}

const stallLookMs = 50
