/**
 * Every error that the QMP and guest-agent clients throw.
 *
 * A caller tells them apart with `instanceof`; what it needs to decide is in typed fields, never only in
 * the sentence. An aborted wait rejects with the signal's own reason instead.
 */

/** Why a connection is over; `code` is the system's error code, such as `ECONNREFUSED`. */
export type CloseReason =
  | { readonly kind: 'closed-by-us' }
  | { readonly kind: 'ended-by-peer' }
  | { readonly kind: 'unreachable'; readonly code: string }
  | { readonly kind: 'socket-error'; readonly code: string }
  | { readonly kind: 'protocol-error'; readonly message: string }

/** QEMU or the guest agent answered a command with an error; `desc` is its own text. */
export class QmpError extends Error {
  override readonly name = 'QmpError'
  readonly command: string
  /** The error class, `GenericError` nearly always; `CommandNotFound` and `DeviceNotFound` are worth a test. */
  readonly class: string
  readonly desc: string

  constructor(details: { command: string; class: string; desc: string; hint?: string }) {
    const hint = details.hint === undefined ? '' : ` (${details.hint})`
    super(`${details.command} was refused: ${details.desc}${hint}`)
    this.command = details.command
    this.class = details.class
    this.desc = details.desc
  }
}

/** An answer did not come in time; the command may still run, and its late answer is dropped. */
export class QmpTimeoutError extends Error {
  override readonly name = 'QmpTimeoutError'
  /** What was waited for: a command's name, `greeting`, or an event's name. */
  readonly awaited: string
  readonly timeoutMs: number

  constructor(message: string, details: { awaited: string; timeoutMs: number }) {
    super(message)
    this.awaited = details.awaited
    this.timeoutMs = details.timeoutMs
  }
}

/** The connection is over, so a command in flight has an unknown outcome and a new one cannot be sent. */
export class QmpClosedError extends Error {
  override readonly name = 'QmpClosedError'
  readonly reason: CloseReason

  constructor(message: string, details: { reason: CloseReason; cause?: unknown }) {
    super(message, details.cause === undefined ? {} : { cause: details.cause })
    this.reason = details.reason
  }
}

/** The peer sent what is not the protocol: no JSON, too long a line, too deep a value; the connection is closed. */
export class QmpProtocolError extends Error {
  override readonly name = 'QmpProtocolError'
}

/** Too many commands are unanswered, or one is too large, so this one was not sent. */
export class QmpBusyError extends Error {
  override readonly name = 'QmpBusyError'
  readonly command: string

  constructor(message: string, details: { command: string }) {
    super(message)
    this.command = details.command
  }
}

/** Says in words why a connection is over, as the second half of a sentence. */
export function describeCloseReason(reason: CloseReason): string {
  switch (reason.kind) {
    case 'closed-by-us':
      return 'it was closed on this side'
    case 'ended-by-peer':
      return 'the other side ended it'
    case 'unreachable':
      return `it cannot be reached (${reason.code})`
    case 'socket-error':
      return `the socket broke (${reason.code})`
    case 'protocol-error':
      return reason.message
  }
}
