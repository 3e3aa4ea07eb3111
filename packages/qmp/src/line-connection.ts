/**
 * A UNIX stream socket that speaks in lines, with one end and one reason for it.
 *
 * Invariant: after the end no line is handed out any more, and the reason never changes. What the owner
 * throws as QmpProtocolError while it reads a line ends the connection.
 *
 * Not here: what the lines mean (client.ts, guest-agent.ts).
 */
import { connect, type Socket } from 'node:net'
import { type CloseReason, describeCloseReason, QmpClosedError, QmpProtocolError } from './errors.ts'
import { LineSplitter } from './lines.ts'

/** Who reads the lines, and within which bounds. */
export interface LineConnectionOptions {
  readonly path: string
  /** What the path is, as the subject of error sentences, such as `monitor`. */
  readonly subject: string
  readonly maxLineBytes: number
  /** Called for each line; the bytes are valid during the call only. */
  readonly onLine: (line: Buffer) => void
  /** Called once, when the connection is over. */
  readonly onEnd: (cause: unknown) => void
}

/** One connection; it begins to connect when it is made. */
export class LineConnection {
  /** Settles once, when the connection is over; never rejects. */
  readonly closed: Promise<CloseReason>
  readonly #options: LineConnectionOptions
  readonly #socket: Socket
  readonly #lines: LineSplitter
  readonly #close = Promise.withResolvers<CloseReason>()
  readonly #endListeners = new Set<() => void>()
  /** What is written while somebody else writes to the socket. */
  #held: (string | Buffer)[] | undefined
  #closeReason: CloseReason | undefined

  constructor(options: LineConnectionOptions) {
    this.closed = this.#close.promise
    this.#options = options
    this.#lines = new LineSplitter(options.maxLineBytes)
    this.#socket = connect(options.path)
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error))
    this.#socket.on('end', () => this.end({ kind: 'ended-by-peer' }))
    this.#socket.on('close', () => this.end({ kind: 'ended-by-peer' }))
  }

  /** Why the connection is over, or undefined while it is not. */
  get closeReason(): CloseReason | undefined {
    return this.#closeReason
  }

  /** Bytes written that the other side has not read into its socket. */
  get unsentBytes(): number {
    const held = this.#held?.reduce((bytes, data) => bytes + Buffer.byteLength(data), 0)
    return this.#socket.writableLength + (held ?? 0)
  }

  /** Bytes of a line whose end has not come. */
  get heldBytes(): number {
    return this.#lines.heldBytes
  }

  /** All bytes that came so far. */
  get receivedBytes(): number {
    return this.#socket.bytesRead
  }

  /** Sends text or bytes; they wait in memory while the other side does not read. */
  write(data: string | Buffer): void {
    if (this.#held) this.#held.push(data)
    else this.#socket.write(data)
  }

  /**
   * Lets somebody else write to the socket, given by its descriptor, after all that was written here and before all that is written
   * meanwhile. One at a time. A write that fails ends the connection, since part of it may have been sent.
   */
  async writeElsewhere(send: (descriptor: number) => Promise<void>): Promise<void> {
    if (this.#held) throw new Error('Somebody else writes to the socket already.')
    this.#held = []
    try {
      await this.#whenSent()
      await send(descriptorOf(this.#socket))
    } catch (error) {
      this.end({ kind: 'socket-error', code: 'what was sent beside it failed' }, error)
      throw error
    } finally {
      const held = this.#held
      this.#held = undefined
      if (this.#closeReason === undefined) for (const data of held) this.#socket.write(data)
    }
  }

  /** Stops reading, so that a peer that talks unasked has to wait; its end is not noticed meanwhile. */
  pause(): void {
    this.#socket.pause()
  }

  /** Reads on. */
  resume(): void {
    this.#socket.resume()
  }

  /** Calls `listener` once at the end of the connection; returns what undoes it. */
  onEnd(listener: () => void): () => void {
    this.#endListeners.add(listener)
    return () => this.#endListeners.delete(listener)
  }

  /** The only way to the closed state; the first reason stays. */
  end(reason: CloseReason, cause?: unknown): void {
    if (this.#closeReason !== undefined) return
    this.#closeReason = reason
    this.#socket.destroy()
    this.#lines.clear()
    this.#options.onEnd(cause)
    for (const listener of this.#endListeners) listener()
    this.#close.resolve(reason)
  }

  /** The error for what cannot be done any more because the connection is over. */
  closedError(consequence: string, cause?: unknown): QmpClosedError {
    const reason = this.#closeReason ?? { kind: 'ended-by-peer' }
    const { subject, path } = this.#options
    const message = `The ${subject} at ${path} is closed: ${describeCloseReason(reason)}; ${consequence}.`
    return new QmpClosedError(message, { reason, cause })
  }

  /** Resolves when the kernel has all that was written; an end of the connection rejects it. */
  async #whenSent(): Promise<void> {
    if (this.#socket.writableLength === 0) return
    await new Promise<void>((resolve, reject) =>
      this.#socket.write('', (error) => (error ? reject(error) : resolve())),
    )
  }

  #read(chunk: Buffer): void {
    try {
      for (const line of this.#lines.push(chunk)) {
        this.#options.onLine(line)
        if (this.#closeReason !== undefined) return
      }
    } catch (error) {
      if (!(error instanceof QmpProtocolError)) throw error
      const { subject, path } = this.#options
      const message = `The ${subject} at ${path} broke its protocol: ${error.message}.`
      this.end({ kind: 'protocol-error', message: error.message }, new QmpProtocolError(message))
    }
  }

  #fail(error: NodeJS.ErrnoException): void {
    const code = error.code ?? error.message
    if (this.#socket.bytesRead === 0) this.end({ kind: 'unreachable', code }, error)
    // A QEMU that exits with commands unread resets the connection instead of ending it.
    else if (code === 'ECONNRESET' || code === 'EPIPE') this.end({ kind: 'ended-by-peer' }, error)
    else this.end({ kind: 'socket-error', code }, error)
  }
}

/** Node has no public name for the descriptor of a socket; `_handle.fd` has been it since Node 0.6. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number' || fd < 0) throw new Error('The socket has no descriptor.')
  return fd
}
