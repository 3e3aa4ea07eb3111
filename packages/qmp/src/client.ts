/**
 * A QMP client over one UNIX stream socket.
 *
 *     connect ──greeting──▶ qmp_capabilities ──▶ ready ──▶ closed
 *        └── time-out, refused, abort ─────────────────────▲  ▲ QEMU ends, garbage, close()
 *
 * Invariants:
 * - A reply settles the command whose id it carries, and nothing else. Ids are unique to a connection,
 *   because QEMU may send a reply that a previous client no longer waited for to the next one.
 * - A command that timed out or was aborted stays counted until QEMU answers it, so that a stopped QEMU
 *   cannot make memory grow: at most `maxUnansweredCommands` are ever outstanding.
 * - Events are handed to listeners as they are read and are never queued.
 * - After the close nothing is pending: each command has been settled, `closed` says why.
 *
 * QEMU serves one client per monitor; a second one is connected by the kernel but gets no greeting,
 * which is why the greeting has a deadline.
 *
 * Not here: framing (lines.ts), parsing (json-line.ts), descriptors sent beside commands.
 */
import { randomBytes } from 'node:crypto'
import { connect as connectSocket, type Socket } from 'node:net'
import {
  type CloseReason,
  describeCloseReason,
  QmpBusyError,
  QmpClosedError,
  QmpProtocolError,
  QmpTimeoutError,
} from './errors.ts'
import { EventListeners } from './event-listeners.ts'
import { type JsonObject, parseJsonLine } from './json-line.ts'
import { LineSplitter } from './lines.ts'
import {
  type CommandArguments,
  type CommandName,
  type CommandReturn,
  type EventName,
  parseEvent,
  parseGreeting,
  parseRefusal,
  type QemuVersion,
  type QmpEvent,
} from './messages.ts'

/** The longest line accepted from QEMU; its largest honest reply, query-qmp-schema, has about 300 KiB. */
export const maxLineBytes = 16 * 1024 * 1024
/** The deepest nesting accepted from QEMU. */
export const maxNestingDepth = 64
/** How many commands may wait for an answer, counting those that the caller gave up. */
export const maxUnansweredCommands = 256
/** How many bytes of commands may wait for QEMU to read them. */
export const maxUnsentBytes = 16 * 1024 * 1024
/** How long a command waits for its answer when the caller does not say. */
export const defaultCommandTimeoutMs = 10_000

/** Limits one command's wait; `timeoutMs` is 10 s when absent. */
export interface ExecuteOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** The rest of execute's parameters: the arguments may be left out when none is required. */
export type ExecuteParameters<C extends CommandName> =
  Record<never, never> extends CommandArguments<C>
    ? [args?: CommandArguments<C>, options?: ExecuteOptions]
    : [args: CommandArguments<C>, options?: ExecuteOptions]

/** Where to connect and how long the whole of connecting, greeting and negotiating may last. */
export interface ConnectOptions {
  readonly path: string
  readonly greetingTimeoutMs?: number
  readonly signal?: AbortSignal
  /** Told when an event's listener throws; by default the error becomes a process warning. */
  readonly onListenerError?: (error: unknown) => void
}

interface PendingCommand {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** One negotiated connection to a monitor of QEMU. */
export class QmpClient {
  /** Settles once, when the connection is over, with the reason; never rejects. */
  readonly closed: Promise<CloseReason>
  readonly path: string

  readonly #socket: Socket
  readonly #lines = new LineSplitter(maxLineBytes)
  readonly #listeners: EventListeners<QmpEvent>
  readonly #greeting = Promise.withResolvers<QemuVersion>()
  readonly #close = Promise.withResolvers<CloseReason>()
  readonly #idPrefix = randomBytes(6).toString('hex')
  readonly #pending = new Map<string, PendingCommand>()
  readonly #givenUp = new Set<string>()
  #lastId = 0
  #closeReason: CloseReason | undefined
  #version: QemuVersion | undefined
  #strayReplies = 0

  private constructor(options: ConnectOptions) {
    this.path = options.path
    this.closed = this.#close.promise
    this.#listeners = new EventListeners(options.onListenerError)
    this.#greeting.promise.catch(() => {}) // Also rejected when nobody waits any more.
    this.#socket = connectSocket(options.path)
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error))
    this.#socket.on('end', () => this.#end({ kind: 'ended-by-peer' }))
    this.#socket.on('close', () => this.#end({ kind: 'ended-by-peer' }))
  }

  /**
   * Connects to the monitor at a path, reads the greeting and leaves negotiation mode.
   * Throws QmpTimeoutError when no greeting comes (another client holds the monitor, or QEMU is stopped),
   * QmpClosedError when the socket cannot be reached or ends, QmpProtocolError when it is no QMP server.
   */
  static async connect(options: ConnectOptions): Promise<QmpClient> {
    options.signal?.throwIfAborted()
    const greetingTimeoutMs = options.greetingTimeoutMs ?? 3_000
    const deadline = performance.now() + greetingTimeoutMs
    const client = new QmpClient(options)
    try {
      await client.#waitForGreeting(greetingTimeoutMs, options.signal)
      const remainingMs = Math.max(1, deadline - performance.now())
      await client.#send('qmp_capabilities', undefined, {
        timeoutMs: remainingMs,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      })
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  /** QEMU's version, from the greeting. */
  get version(): QemuVersion {
    if (this.#version === undefined)
      throw new Error('The greeting has not been read, so the version is unknown.')
    return this.#version
  }

  /** Why the connection is over, or undefined while it is open. */
  get closeReason(): CloseReason | undefined {
    return this.#closeReason
  }

  /** How many replies came that nobody here asked for, usually left over from a previous client. */
  get strayReplies(): number {
    return this.#strayReplies
  }

  /** How many commands QEMU has not answered, including those given up here. */
  get unansweredCommands(): number {
    return this.#pending.size + this.#givenUp.size
  }

  /**
   * Runs a command and gives its answer. Throws QmpError when QEMU refuses it, QmpTimeoutError,
   * QmpClosedError when the connection ends first (the outcome is then unknown), QmpBusyError when it was
   * not sent, and the signal's reason when aborted; a given-up command may still take effect.
   */
  async execute<C extends CommandName>(command: C, ...rest: ExecuteParameters<C>): Promise<CommandReturn<C>> {
    const [args, options] = rest
    // The protocol edge: QEMU's answer has the shape that QEMU's own introspection states.
    return (await this.#send(command, args, options ?? {})) as CommandReturn<C>
  }

  /** Runs a command that the introspected versions do not know; nothing is checked. Errors as execute. */
  async executeUntyped(command: string, args?: JsonObject, options: ExecuteOptions = {}): Promise<unknown> {
    return await this.#send(command, args, options)
  }

  /** Calls `listener` for each event of a name, or for all with '*'; returns what undoes it. */
  on<E extends EventName>(event: E | '*', listener: (event: QmpEvent<E>) => void): () => void {
    // A listener is only given events of the name it was registered under.
    return this.#listeners.add(event, listener as (event: QmpEvent) => void)
  }

  /** Ends the connection; what is pending rejects with QmpClosedError. QEMU itself goes on. */
  close(): void {
    this.#end({ kind: 'closed-by-us' })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async #waitForGreeting(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const onAbort = (): void => this.#greeting.reject(signal?.reason)
    const timer = setTimeout(() => this.#greeting.reject(noGreetingError(this.path, timeoutMs)), timeoutMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      this.#version = await this.#greeting.promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #send(command: string, args: object | undefined, options: ExecuteOptions): Promise<unknown> {
    options.signal?.throwIfAborted()
    if (this.#closeReason !== undefined) throw this.#closedError(`${command} was not sent`)
    const id = `${this.#idPrefix}-${++this.#lastId}`
    const line = `${JSON.stringify({ execute: command, arguments: args, id })}\n`
    this.#refuseWhenBusy(command, line)

    const reply = Promise.withResolvers<unknown>()
    this.#pending.set(id, { command, resolve: reply.resolve, reject: reply.reject })
    const timeoutMs = options.timeoutMs ?? defaultCommandTimeoutMs
    const timer = setTimeout(() => this.#giveUp(id, noReplyError(command, timeoutMs)), timeoutMs)
    const onAbort = (): void => this.#giveUp(id, options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, { once: true })
    this.#socket.write(line)
    try {
      return await reply.promise
    } finally {
      clearTimeout(timer)
      options.signal?.removeEventListener('abort', onAbort)
    }
  }

  #refuseWhenBusy(command: string, line: string): void {
    if (this.unansweredCommands >= maxUnansweredCommands) {
      const message = `The monitor at ${this.path} has ${maxUnansweredCommands} unanswered commands, so ${command} was not sent.`
      throw new QmpBusyError(message, { command })
    }
    if (this.#socket.writableLength + line.length > maxUnsentBytes) {
      const message = `The monitor at ${this.path} would hold more than ${maxUnsentBytes} unsent bytes, so ${command} was not sent.`
      throw new QmpBusyError(message, { command })
    }
  }

  #giveUp(id: string, error: unknown): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    this.#pending.delete(id)
    this.#givenUp.add(id)
    pending.reject(error)
  }

  #read(chunk: Buffer): void {
    try {
      for (const line of this.#lines.push(chunk)) {
        this.#handle(parseJsonLine(line, maxNestingDepth))
        if (this.#closeReason !== undefined) return
      }
    } catch (error) {
      if (!(error instanceof QmpProtocolError)) throw error
      this.#end({ kind: 'protocol-error', message: error.message }, error)
    }
  }

  #handle(message: JsonObject): void {
    if ('event' in message) {
      if (this.#version !== undefined) this.#listeners.emit(parseEvent(message))
    } else if ('return' in message || 'error' in message) {
      this.#settle(message)
    } else if ('QMP' in message) {
      this.#greeting.resolve(parseGreeting(message))
    } else {
      throw new QmpProtocolError(
        'a message is neither greeting nor event nor reply, so the stream cannot be followed',
      )
    }
  }

  #settle(message: JsonObject): void {
    const id = message['id']
    const pending = typeof id === 'string' ? this.#pending.get(id) : undefined
    if (typeof id !== 'string' || pending === undefined) {
      const wasGivenUp = typeof id === 'string' && this.#givenUp.delete(id)
      if (!wasGivenUp) this.#strayReplies++
      return
    }
    this.#pending.delete(id)
    if ('error' in message) pending.reject(parseRefusal(message['error'], pending.command, this.#version))
    else pending.resolve(message['return'])
  }

  #fail(error: NodeJS.ErrnoException): void {
    const code = error.code ?? error.message
    if (this.#socket.bytesRead === 0) this.#end({ kind: 'unreachable', code }, error)
    // A QEMU that exits with commands unread resets the connection instead of ending it.
    else if (code === 'ECONNRESET' || code === 'EPIPE') this.#end({ kind: 'ended-by-peer' }, error)
    else this.#end({ kind: 'socket-error', code }, error)
  }

  /** The only way to the closed state; the first reason stays. */
  #end(reason: CloseReason, cause?: unknown): void {
    if (this.#closeReason !== undefined) return
    this.#closeReason = reason
    this.#socket.destroy()
    this.#lines.clear()
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    this.#givenUp.clear()
    for (const { command, reject } of pending)
      reject(this.#closedError(`the outcome of ${command} is unknown`, cause))
    this.#greeting.reject(
      cause instanceof QmpProtocolError ? cause : this.#closedError('no greeting was read', cause),
    )
    this.#close.resolve(reason)
  }

  #closedError(consequence: string, cause?: unknown): QmpClosedError {
    const reason = this.#closeReason ?? { kind: 'ended-by-peer' }
    const message = `The monitor at ${this.path} is closed: ${describeCloseReason(reason)}; ${consequence}.`
    return new QmpClosedError(message, { reason, cause })
  }
}

function noGreetingError(path: string, timeoutMs: number): QmpTimeoutError {
  const message =
    `The monitor at ${path} sent no greeting within ${Math.round(timeoutMs)} ms, so it cannot be used: ` +
    'another client holds it, or its emulator is stopped.'
  return new QmpTimeoutError(message, { awaited: 'greeting', timeoutMs })
}

function noReplyError(command: string, timeoutMs: number): QmpTimeoutError {
  const message = `QEMU did not answer ${command} within ${Math.round(timeoutMs)} ms, so its outcome is unknown.`
  return new QmpTimeoutError(message, { awaited: command, timeoutMs })
}
