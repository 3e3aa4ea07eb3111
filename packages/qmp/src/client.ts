/**
 * A QMP client over one UNIX stream socket.
 *
 *     connect ──greeting──▶ qmp_capabilities ──▶ ready ──▶ closed
 *        └── time-out, refused, abort ─────────────────────▲  ▲ QEMU ends, garbage, close()
 *
 * Invariants:
 * - A reply settles the command whose id it carries, and nothing else (unanswered-commands.ts).
 * - At most `maxUnansweredCommands` are outstanding, those that timed out or were aborted included, so
 *   that a stopped QEMU cannot make memory grow.
 * - Events are handed to listeners as they are read and are never queued.
 * - After the close nothing is pending: each command has been settled, `closed` says why.
 *
 * QEMU serves one client per monitor; a second one is connected by the kernel but gets no greeting,
 * which is why the greeting has a deadline.
 *
 * Not here: the socket and its end (line-connection.ts), framing (lines.ts), parsing (json-line.ts), how a descriptor is sent beside a
 * command (`executeBeside` lets its caller do that).
 */
import { type CloseReason, QmpBusyError, QmpProtocolError, QmpTimeoutError } from './errors.ts'
import { EventListeners } from './event-listeners.ts'
import { type JsonObject, parseJsonLine } from './json-line.ts'
import { LineConnection } from './line-connection.ts'
import {
  type CommandArguments,
  type CommandName,
  type CommandReturn,
  commandText,
  type EventName,
  parseEvent,
  parseGreeting,
  parseRefusal,
  type QemuVersion,
  type QmpEvent,
} from './messages.ts'
import { UnansweredCommands } from './unanswered-commands.ts'

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

/** One negotiated connection to a monitor of QEMU. */
export class QmpClient {
  /** Settles once, when the connection is over, with the reason; never rejects. */
  readonly closed: Promise<CloseReason>
  readonly path: string

  readonly #connection: LineConnection
  readonly #listeners: EventListeners<QmpEvent>
  readonly #greeting = Promise.withResolvers<QemuVersion>()
  readonly #unanswered = new UnansweredCommands()
  #version: QemuVersion | undefined
  /** The command before, of those whose line is sent elsewhere. */
  #beside: Promise<void> = Promise.resolve()
  #strayReplies = 0

  private constructor(options: ConnectOptions) {
    this.path = options.path
    this.#listeners = new EventListeners(options.onListenerError)
    this.#greeting.promise.catch(() => {}) // Also rejected when nobody waits any more.
    this.#connection = new LineConnection({
      path: options.path,
      subject: 'monitor',
      maxLineBytes,
      onLine: (line) => this.#handle(parseJsonLine(line, maxNestingDepth)),
      onEnd: (cause) => this.#settleAll(cause),
    })
    this.closed = this.#connection.closed
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
    return this.#connection.closeReason
  }

  /** How many replies came that nobody here asked for, usually left over from a previous client. */
  get strayReplies(): number {
    return this.#strayReplies
  }

  /** How many commands QEMU has not answered, including those given up here. */
  get unansweredCommands(): number {
    return this.#unanswered.count
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

  /**
   * Runs a command whose line the caller sends, so that something can go beside it: `send` gets the line and the number of the socket's
   * descriptor. Other commands wait meanwhile. One at a time. Errors as execute, and what `send` throws, which ends the connection.
   */
  async executeBeside<C extends CommandName>(
    command: C,
    beside: {
      readonly args: CommandArguments<C>
      readonly send: (socket: number, line: string) => Promise<void>
    },
  ): Promise<CommandReturn<C>> {
    const turn = this.#beside
    const done = Promise.withResolvers<void>()
    this.#beside = done.promise
    await turn
    try {
      return (await this.#send(command, beside.args, {}, beside.send)) as CommandReturn<C> // As in execute.
    } finally {
      done.resolve()
    }
  }

  /** Calls `listener` for each event of a name, or for all with '*'; returns what undoes it. */
  on<E extends EventName>(event: E | '*', listener: (event: QmpEvent<E>) => void): () => void {
    // A listener is only given events of the name it was registered under.
    return this.#listeners.add(event, listener as (event: QmpEvent) => void)
  }

  /** Calls `listener` once when the connection is over; returns what undoes it. */
  onClosed(listener: () => void): () => void {
    return this.#connection.onEnd(listener)
  }

  /** Ends the connection; what is pending rejects with QmpClosedError. QEMU itself goes on. */
  close(): void {
    this.#connection.end({ kind: 'closed-by-us' })
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

  async #send(
    command: string,
    args: object | undefined,
    options: ExecuteOptions,
    sendLine?: (socket: number, line: string) => Promise<void>,
  ): Promise<unknown> {
    options.signal?.throwIfAborted()
    if (this.closeReason !== undefined) throw this.#connection.closedError(`${command} was not sent`)
    const timeoutMs = options.timeoutMs ?? defaultCommandTimeoutMs
    const text = commandText(command, args)
    this.#refuseWhenBusy(command, text)
    const { id, answer } = this.#unanswered.begin(command, {
      timeoutMs,
      timeoutError: () => noReplyError(command, timeoutMs),
      signal: options.signal,
    })
    const line = `${text},"id":"${id}"}\n`
    if (sendLine) {
      answer.catch(() => {}) // What went wrong with the sending says more.
      await this.#connection.writeElsewhere((socket) => sendLine(socket, line))
    } else this.#connection.write(line)
    return await answer
  }

  #refuseWhenBusy(command: string, text: string): void {
    if (this.#unanswered.count >= maxUnansweredCommands) {
      const message = `The monitor at ${this.path} has ${maxUnansweredCommands} unanswered commands, so ${command} was not sent.`
      throw new QmpBusyError(message, { command })
    }
    if (this.#connection.unsentBytes + Buffer.byteLength(text) > maxUnsentBytes) {
      const message = `The monitor at ${this.path} would hold more than ${maxUnsentBytes} unsent bytes, so ${command} was not sent.`
      throw new QmpBusyError(message, { command })
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
    const read = (command: string): unknown =>
      'error' in message ? parseRefusal(message['error'], command, this.#version) : message['return']
    if (!this.#unanswered.end(message['id'], read)) this.#strayReplies++
  }

  #settleAll(cause: unknown): void {
    const errorFor = (command: string): Error =>
      this.#connection.closedError(`the outcome of ${command} is unknown`, cause)
    this.#unanswered.rejectAll(errorFor)
    const isForeign = cause instanceof QmpProtocolError
    this.#greeting.reject(isForeign ? cause : this.#connection.closedError('no greeting was read', cause))
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
