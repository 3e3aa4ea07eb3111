/**
 * A client for the QEMU guest agent behind a virtio-serial channel's UNIX socket.
 *
 *     connect ──▶ out of step ──0xFF, guest-sync-delimited, its own id back──▶ in step
 *                     ▲                                                          │
 *                     └───── time-out, abort, garbage, a silent command ─────────┘
 *
 * The channel has no beginning: the agent may be absent, restart in the middle of a line, or answer what
 * nobody waits for any more. So commands go one at a time, and after anything unexpected the next one
 * first gets in step again: the agent drops its half-read input at a 0xFF byte and answers behind one.
 *
 * The guest is not trusted. It can send at most `maxAgentExchangeBytes` in answer to a command and
 * `maxUnaskedBytes` between commands; then it is not read until something is asked.
 */
import { randomInt } from 'node:crypto'
import { type CloseReason, QmpBusyError, QmpError, QmpProtocolError, QmpTimeoutError } from './errors.ts'
import {
  type AgentArguments,
  type AgentCommandName,
  type AgentReturn,
  agentReturns,
  silentAgentCommands,
} from './guest-agent-commands.ts'
import type { Shape } from './guest-agent-shapes.ts'
import { isSyncAnswer, syncCommand, syncRequest } from './guest-agent-sync.ts'
import { type JsonObject, parseJsonLine } from './json-line.ts'
import { LineConnection } from './line-connection.ts'
import { parseRefusal } from './messages.ts'
import { Turns } from './turns.ts'

/** The longest line accepted from a guest. */
export const maxAgentLineBytes = 1024 * 1024
/** The deepest nesting accepted from a guest. */
export const maxAgentNestingDepth = 64
/** All that a guest may send between a command and its answer. */
export const maxAgentExchangeBytes = 4 * 1024 * 1024
/** All that a guest may send while nothing is asked. */
export const maxUnaskedBytes = 64 * 1024
/** How many commands may wait for their turn. */
export const maxWaitingAgentCommands = 32
/** How many bytes of commands may wait for the guest to read them. */
export const maxAgentUnsentBytes = 1024 * 1024
/** How long an agent command waits for its answer when the caller does not say. */
export const defaultAgentTimeoutMs = 5_000
/** A command that answers only errors counts as accepted after this silence, unless the client was told of another. */
export const agentSilenceMs = 500

/** Limits one command: its turn, getting in step and its answer together. */
export interface AgentExecuteOptions {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** Where the channel's socket is; when absent, the first handshake may last 3 s and the silence is `agentSilenceMs`. */
export interface AgentConnectOptions {
  readonly path: string
  readonly syncTimeoutMs?: number
  readonly silenceMs?: number
  readonly signal?: AbortSignal
}

/** The rest of execute's parameters: the arguments may be left out when none is required. */
export type AgentExecuteParameters<C extends AgentCommandName> = undefined extends AgentArguments[C]
  ? [args?: AgentArguments[C], options?: AgentExecuteOptions]
  : [args: AgentArguments[C], options?: AgentExecuteOptions]

interface Exchange {
  readonly onLine: (line: Buffer) => void
  readonly fail: (error: unknown) => void
  /** The connection's byte count at which the guest has said too much. */
  readonly lastByte: number
}

/** One connection to a guest's agent. */
export class GuestAgentClient {
  /** Settles once, when the connection is over, with the reason; never rejects. */
  readonly closed: Promise<CloseReason>
  readonly path: string

  readonly #connection: LineConnection
  readonly #turns = new Turns(maxWaitingAgentCommands)
  #exchange: Exchange | undefined
  #isInStep = false
  #unaskedFrom = 0
  readonly #silenceMs: number

  private constructor(path: string, silenceMs: number) {
    this.path = path
    this.#silenceMs = silenceMs
    this.#connection = new LineConnection({
      path,
      subject: 'guest agent channel',
      maxLineBytes: maxAgentLineBytes,
      onLine: (line) => this.#read(line),
      onEnd: (cause) => this.#exchange?.fail(this.#connection.closedError('its answer will not come', cause)),
    })
    this.closed = this.#connection.closed
  }

  /**
   * Connects to a channel and gets in step with the agent. Throws QmpTimeoutError when no agent answers
   * (none is installed, or the guest is not up), and QmpClosedError when the channel cannot be reached.
   */
  static async connect(options: AgentConnectOptions): Promise<GuestAgentClient> {
    options.signal?.throwIfAborted()
    const client = new GuestAgentClient(options.path, options.silenceMs ?? agentSilenceMs)
    const limits = { timeoutMs: options.syncTimeoutMs ?? 3_000, signal: options.signal }
    try {
      await client.#within(syncCommand, limits, (signal) => client.#getInStep(signal))
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  /** Why the connection is over, or undefined while it is open. */
  get closeReason(): CloseReason | undefined {
    return this.#connection.closeReason
  }

  /**
   * Runs a command after those that wait already. Throws QmpError when the agent refuses it,
   * QmpTimeoutError, QmpClosedError, QmpBusyError when too many wait, QmpProtocolError when the answer
   * has not the command's shape, and the signal's reason; a given-up command may still take effect.
   * guest-shutdown resolves when it was not refused within `silenceMs`; the guest then may or may not obey.
   */
  async execute<C extends AgentCommandName>(
    command: C,
    ...rest: AgentExecuteParameters<C>
  ): Promise<AgentReturn<C>> {
    const [args, options] = rest
    const answer = await this.#run(command, args, options ?? {})
    // The table gives each command's shape under its own name, which the checker does not follow.
    const shape = agentReturns[command] as Shape<AgentReturn<C>>
    try {
      return shape(answer, command)
    } catch (error) {
      this.#isInStep = false
      throw error
    }
  }

  /** Runs a command that is not in our table; its answer is not checked. Errors as execute. */
  async executeUntyped(
    command: string,
    args?: JsonObject,
    options: AgentExecuteOptions = {},
  ): Promise<unknown> {
    return await this.#run(command, args, options)
  }

  /** Ends the connection; what waits rejects with QmpClosedError. The agent goes on. */
  close(): void {
    this.#connection.end({ kind: 'closed-by-us' })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async #run(command: string, args: object | undefined, options: AgentExecuteOptions): Promise<unknown> {
    const limits = { timeoutMs: options.timeoutMs ?? defaultAgentTimeoutMs, signal: options.signal }
    return await this.#within(command, limits, async (signal) => {
      if (!this.#isInStep || this.#connection.heldBytes > 0) await this.#getInStep(signal)
      const text = JSON.stringify({ execute: command, arguments: args })
      if (silentAgentCommands.has(command)) return await this.#askSilently(command, text, signal)
      return await this.#ask(command, text, signal)
    })
  }

  /** Takes a turn and does `work` in it, with one deadline for both. */
  async #within<T>(
    command: string,
    limits: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    limits.signal?.throwIfAborted()
    this.#refuseWhenUnable(command)
    const deadline = new AbortController()
    const timer = setTimeout(
      () => deadline.abort(this.#timeoutError(command, limits.timeoutMs)),
      limits.timeoutMs,
    )
    const onAbort = (): void => deadline.abort(limits.signal?.reason)
    limits.signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await this.#turns.take(deadline.signal, () => work(deadline.signal))
    } finally {
      clearTimeout(timer)
      limits.signal?.removeEventListener('abort', onAbort)
    }
  }

  #refuseWhenUnable(command: string): void {
    if (this.closeReason !== undefined) throw this.#connection.closedError(`${command} was not sent`)
    if (this.#turns.isFull || this.#connection.unsentBytes > maxAgentUnsentBytes) {
      const message = `The guest agent channel at ${this.path} has too much waiting, so ${command} was not sent.`
      throw new QmpBusyError(message, { command })
    }
  }

  async #getInStep(signal: AbortSignal): Promise<void> {
    const id = randomInt(1, 2 ** 47)
    await this.#converse(signal, (resolve) => {
      this.#connection.write(syncRequest(id))
      return (line) => {
        if (isSyncAnswer(line, id)) resolve(undefined)
      }
    })
    this.#isInStep = true
  }

  async #ask(command: string, text: string, signal: AbortSignal): Promise<unknown> {
    return await this.#converse(signal, (resolve, reject) => {
      this.#connection.write(`${text}\n`)
      return (line) => {
        const message = parseJsonLine(line, maxAgentNestingDepth)
        if ('error' in message) reject(parseRefusal(message['error'], command, undefined))
        else if ('return' in message) resolve(message['return'])
        else throw new QmpProtocolError(`the answer to ${command} is neither a return nor an error`)
      }
    })
  }

  async #askSilently(command: string, text: string, signal: AbortSignal): Promise<void> {
    const silence = new AbortController()
    const timer = setTimeout(() => silence.abort(), this.#silenceMs)
    try {
      await this.#ask(command, text, AbortSignal.any([signal, silence.signal]))
    } catch (error) {
      // Silence, or the end of a guest that is already gone, is how this command says yes.
      const isAccepted = silence.signal.aborted || this.closeReason?.kind === 'ended-by-peer'
      if (!isAccepted || error instanceof QmpError) throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends by `begin` and gives its lines to what that returns, until it resolves or anything goes wrong. */
  async #converse<T>(
    signal: AbortSignal,
    begin: (resolve: (value: T) => void, reject: (error: unknown) => void) => (line: Buffer) => void,
  ): Promise<T> {
    signal.throwIfAborted()
    if (this.closeReason !== undefined) throw this.#connection.closedError('nothing was sent')
    const answer = Promise.withResolvers<T>()
    const outOfStep = (error: unknown): void => {
      this.#isInStep = false
      answer.reject(error)
    }
    const onAbort = (): void => outOfStep(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#connection.resume()
    const onLine = begin(answer.resolve, answer.reject)
    const lastByte = this.#connection.receivedBytes + maxAgentExchangeBytes
    this.#exchange = { onLine, fail: outOfStep, lastByte }
    try {
      return await answer.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#exchange = undefined
      this.#unaskedFrom = this.#connection.receivedBytes
    }
  }

  #read(line: Buffer): void {
    const exchange = this.#exchange
    const received = this.#connection.receivedBytes
    if (exchange === undefined) {
      this.#isInStep = false
      if (received - this.#unaskedFrom > maxUnaskedBytes) this.#connection.pause()
      return
    }
    if (received > exchange.lastByte) {
      throw new QmpProtocolError(
        `the guest sent more than ${maxAgentExchangeBytes} bytes in answer to one command`,
      )
    }
    try {
      exchange.onLine(line)
    } catch (error) {
      exchange.fail(error)
    }
  }

  #timeoutError(command: string, timeoutMs: number): QmpTimeoutError {
    const agent = `The guest agent at ${this.path}`
    if (this.#isInStep)
      return new QmpTimeoutError(
        `${agent} did not answer ${command} within ${timeoutMs} ms, so whether that took effect is unknown.`,
        { awaited: command, timeoutMs },
      )
    const unsent = command === syncCommand ? 'nothing was asked of it' : `${command} was not sent`
    return new QmpTimeoutError(`${agent} did not answer within ${timeoutMs} ms, so ${unsent}.`, {
      awaited: syncCommand,
      timeoutMs,
    })
  }
}
