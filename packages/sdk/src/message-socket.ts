/**
 * A WebSocket of the daemon as messages to send and to iterate, over TCP or a UNIX socket.
 *
 * Invariant: at most `maxQueuedMessages` wait unread; then the connection is paused, so that a slow reader slows the daemon instead
 * of filling memory. A peer that is silent and does not answer pings is given up.
 */
import { connect } from 'node:net'
import { KvasirError } from '@kvasir/contract/error-table'
import type { RawData, WebSocket } from 'ws'
import type { DaemonAddress } from './address.ts'
import { describeFailure } from './http-request.ts'
import { problemFrom } from './problem.ts'

const maxQueuedMessages = 512
const maxMessageBytes = 16 * 1024 * 1024
const maxProblemBytes = 64 * 1024
const handshakeTimeoutMs = 10_000
const pingIntervalMs = 15_000

/** A message: text carries JSON, bytes carry a console or a display. */
export type Message =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'bytes'; readonly bytes: Buffer }

/** Why a connection ended: a WebSocket close code (1006 when it broke) and the peer's words. */
export interface Ending {
  readonly code: number
  readonly reason: string
}

/** An open connection. */
export interface MessageSocket extends Disposable {
  /** Sends bytes, or a text; settles when they have left. */
  send(data: Uint8Array | string): Promise<void>
  /** The messages in order; ends when the connection does. One reader only. */
  messages(): AsyncGenerator<Message, Ending, void>
  close(): void
}

/** How a connection is made. */
export interface SocketOptions {
  readonly signal?: AbortSignal | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Opens a WebSocket. Throws the daemon's refusal of the upgrade, `unreachable`, or the signal's reason. */
export async function openMessageSocket(
  address: DaemonAddress,
  path: string,
  options: SocketOptions = {},
): Promise<MessageSocket> {
  options.signal?.throwIfAborted()
  const ws = await import('ws')
  const socket = new ws.WebSocket(socketUrl(address, path), {
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    handshakeTimeout: handshakeTimeoutMs,
    headers: { ...options.headers },
    ...(address.kind === 'unix' ? { createConnection: () => connect(address.socketPath) } : {}),
  })
  const queue = new MessageQueue(socket)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const abort = (): void => {
    reject(options.signal?.reason)
    socket.terminate()
  }
  options.signal?.addEventListener('abort', abort, { once: true })
  socket.on('open', resolve)
  socket.on('error', (error) => reject(describeFailure(error, address)))
  socket.on('close', () => options.signal?.removeEventListener('abort', abort))
  socket.on('unexpected-response', (_request, incoming) => {
    const chunks: Buffer[] = []
    let size = 0
    incoming.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxProblemBytes) chunks.push(chunk)
    })
    incoming.on('end', () => {
      reject(problemFrom({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks) }, address))
      socket.terminate()
    })
  })
  await promise
  return messageSocket(socket, queue)
}

function socketUrl(address: DaemonAddress, path: string): string {
  if (address.kind === 'unix') return `ws://kvasir${path}`
  const secure = address.url.protocol === 'https:'
  return `${secure ? 'wss' : 'ws'}://${address.url.host}${address.url.pathname.replace(/\/$/, '')}${path}`
}

function messageSocket(socket: WebSocket, queue: MessageQueue): MessageSocket {
  keepAlive(socket)
  const close = (): void => socket.close(1000)
  return {
    send(data) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      socket.send(data, (error) =>
        error
          ? reject(
              new KvasirError('unreachable', 'The connection to the daemon has ended.', { cause: error }),
            )
          : resolve(),
      )
      return promise
    },
    messages: () => queue.read(),
    close,
    [Symbol.dispose]: close,
  }
}

/** Ends a connection whose peer has gone without a word. */
function keepAlive(socket: WebSocket): void {
  let heard = true
  const listen = (): void => {
    heard = true
  }
  socket.on('pong', listen)
  socket.on('message', listen)
  const timer = setInterval(() => {
    if (!heard && !socket.isPaused) return socket.terminate()
    heard = false
    socket.ping()
  }, pingIntervalMs)
  timer.unref()
  socket.on('close', () => clearInterval(timer))
}

/** What has come and was not yet read; listens from the beginning, since messages follow the handshake at once. */
class MessageQueue {
  readonly #socket: WebSocket
  readonly #waiting: Message[] = []
  #ending: Ending | undefined
  #wake: () => void = () => {}

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data, isBinary) => this.#put(toMessage(data, isBinary)))
    socket.on('close', (code, reason) => {
      this.#ending = { code, reason: reason.toString('utf8') }
      this.#wake()
    })
  }

  async *read(): AsyncGenerator<Message, Ending, void> {
    while (true) {
      const message = this.#waiting.shift()
      if (message !== undefined) {
        yield message
        continue
      }
      if (this.#ending !== undefined) return this.#ending
      if (this.#socket.isPaused) this.#socket.resume()
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await promise
    }
  }

  #put(message: Message): void {
    this.#waiting.push(message)
    if (this.#waiting.length >= maxQueuedMessages) this.#socket.pause()
    this.#wake()
  }
}

function toMessage(data: RawData, isBinary: boolean): Message {
  const bytes = Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
  return isBinary ? { kind: 'bytes', bytes } : { kind: 'text', text: bytes.toString('utf8') }
}
