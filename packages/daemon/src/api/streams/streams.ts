/**
 * The WebSockets: every upgrade is judged like a request (caller, origin, path, query, ticket) and refused with a problem document
 * before any WebSocket exists.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { KvasirError, streams } from '@kvasir/contract'
import { type WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { refuseGoneEvents } from '../../services/host/refuse-gone-events.ts'
import { authenticate, refuseForeignOrigin, type Transport } from '../access.ts'
import type { ApiOptions } from '../api-options.ts'
import { invalidRequest, issuesOf } from '../issues.ts'
import { apiLimits } from '../limits.ts'
import { rawProblem, refusalOf } from '../problems.ts'
import { streamBytes } from './byte-stream.ts'
import { streamConsole } from './console-stream.ts'
import { streamEvents } from './event-stream.ts'
import { streamLimits } from './limits.ts'
import { closeAtExit, keepAlive } from './open-socket.ts'

/** A request to become a WebSocket. */
export interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly transport: Transport
  readonly closing: boolean
}

type Query = Readonly<Record<string, string>>

const eventsQuery = z.strictObject({ after: z.coerce.number().pipe(z.int().nonnegative()).optional() })
const ticketQuery = z.strictObject({ ticket: z.string().min(1).max(128) })

export class Streams {
  readonly #options: ApiOptions
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: streamLimits.messageBytes,
    clientTracking: true,
  })
  /** Upgrades that are being judged; they count as open, so that a rush of them does not pass the bound. */
  #pending = 0

  constructor(options: ApiOptions) {
    this.#options = options
  }

  /** Makes a WebSocket of the connection, or refuses. */
  accept(upgrade: Upgrade): void {
    const { socket } = upgrade
    const ignore = () => {}
    socket.on('error', ignore) // A client that goes in the middle is no defect; the socket closes by itself.
    this.#pending++
    this.#open(upgrade)
      .catch((error: unknown) => {
        const refusal = refusalOf(error, this.#options.log)
        if (socket.writable) socket.end(rawProblem(refusal), () => socket.destroy())
        else socket.destroy()
      })
      .finally(() => this.#pending--)
  }

  /** Closes all. */
  close(): void {
    for (const socket of this.#server.clients) closeAtExit(socket)
  }

  async #open(upgrade: Upgrade): Promise<void> {
    this.#admit(upgrade)
    const { request, transport } = upgrade
    const { origins = [], tokens, feed, consoles } = this.#options
    refuseForeignOrigin(request, transport, origins)
    const url = new URL(request.url ?? '/', 'http://kvasir')
    const query: Query = Object.fromEntries(url.searchParams)
    switch (url.pathname) {
      case streams.events: {
        authenticate(request, transport, tokens)
        const { after = feed.range().latest } = parseQuery(eventsQuery, query)
        refuseGoneEvents(feed, after)
        return this.#upgrade(upgrade, (socket) => streamEvents(socket, feed, after))
      }
      case streams.console: {
        // The ticket is the credential: a browser can send no other with an upgrade.
        const session = await consoles.joinSerial(parseQuery(ticketQuery, query).ticket)
        if (upgrade.socket.destroyed) return session.leave()
        return this.#upgrade(
          upgrade,
          (socket) => streamConsole(socket, session),
          () => session.leave(),
        )
      }
      case streams.vnc: {
        const { display } = await consoles.joinVnc(parseQuery(ticketQuery, query).ticket)
        return this.#upgrade(
          upgrade,
          (socket) => streamBytes(socket, display, 'the display has ended'),
          () => display.destroy(),
        )
      }
      case streams.spice: {
        const channel = await consoles.joinSpice(parseQuery(ticketQuery, query).ticket)
        return this.#upgrade(
          upgrade,
          (socket) => streamBytes(socket, channel, 'the display has ended'),
          () => channel.destroy(),
        )
      }
      case streams.channel: {
        const channel = await consoles.joinChannel(parseQuery(ticketQuery, query).ticket)
        return this.#upgrade(
          upgrade,
          (socket) => streamBytes(socket, channel, 'the channel has ended'),
          () => channel.destroy(),
        )
      }
      case streams.nbd: {
        const disks = await consoles.joinNbd(parseQuery(ticketQuery, query).ticket)
        return this.#upgrade(
          upgrade,
          (socket) => streamBytes(socket, disks, 'the disks are served no more'),
          () => disks.destroy(),
        )
      }
      default:
        throw new KvasirError('unknown-endpoint', 'There is no stream at this path, so none was opened.')
    }
  }

  #admit({ request, closing }: Upgrade): void {
    if (closing)
      throw new KvasirError('shutting-down', 'The daemon is shutting down, so the stream is refused.')
    if (request.method !== 'GET')
      throw new KvasirError('bad-request', 'A WebSocket is opened with GET, so this request is refused.')
    if (this.#server.clients.size + this.#pending > apiLimits.streams)
      throw new KvasirError(
        'too-many-requests',
        `${apiLimits.streams} streams are open already, so this one is refused.`,
      )
  }

  /** The handshake. When it does not succeed (a bad key, a connection that went), ws answers, and what was acquired is released. */
  #upgrade(upgrade: Upgrade, use: (socket: WebSocket) => void, release?: () => void): void {
    let opened = false
    this.#server.handleUpgrade(upgrade.request, upgrade.socket, upgrade.head, (socket) => {
      opened = true
      keepAlive(socket)
      use(socket)
    })
    // ws completes or refuses a handshake before it returns.
    if (!opened) release?.()
  }
}

function parseQuery<Output>(schema: z.ZodType<Output>, query: Query): Output {
  const parsed = schema.safeParse(query)
  if (parsed.success) return parsed.data
  throw invalidRequest(issuesOf('query', parsed.error.issues))
}
