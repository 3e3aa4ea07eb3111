/**
 * Every refusal the daemon knows: a stable code, an HTTP status, the CLI's exit code, a title. The table is closed; a new refusal is
 * a new row. Errors travel as RFC 9457 problem documents.
 *
 * Not here: the schema of the problem document (errors.ts). This file loads without zod, so that the CLI starts quickly.
 */

/** Exit codes of the CLI. */
export const exitCodes = {
  done: 0,
  refused: 1,
  usage: 2,
  notFound: 3,
  hostFailed: 4,
  unreachable: 5,
} as const

const { refused, usage, notFound, hostFailed, unreachable } = exitCodes

export const errorTable = {
  'bad-request': { status: 400, exit: usage, title: 'The request is not valid' },
  'unknown-endpoint': { status: 404, exit: usage, title: 'There is no such endpoint' },
  unauthorized: { status: 401, exit: refused, title: 'The caller is not known' },
  forbidden: { status: 403, exit: refused, title: 'The caller may not do this' },
  'vm-not-found': { status: 404, exit: notFound, title: 'There is no such VM' },
  'image-not-found': { status: 404, exit: notFound, title: 'There is no such image' },
  'snapshot-not-found': { status: 404, exit: notFound, title: 'There is no such snapshot' },
  'checkpoint-not-found': { status: 404, exit: notFound, title: 'There is no such checkpoint' },
  'instant-not-found': { status: 404, exit: notFound, title: 'Nothing is kept of such an instant' },
  'volume-not-found': { status: 404, exit: notFound, title: 'There is no such volume' },
  'pool-not-found': { status: 404, exit: notFound, title: 'There is no such pool' },
  'secret-not-found': { status: 404, exit: notFound, title: 'There is no such secret' },
  'network-not-found': { status: 404, exit: notFound, title: 'There is no such network' },
  'job-not-found': { status: 404, exit: notFound, title: 'There is no such job' },
  'file-not-found': { status: 404, exit: notFound, title: 'There is no such file' },
  'name-taken': { status: 409, exit: refused, title: 'The name is taken' },
  'wrong-state': { status: 409, exit: refused, title: 'The VM is in a state that does not allow this' },
  busy: { status: 409, exit: refused, title: 'Another action is under way' },
  'in-use': { status: 409, exit: refused, title: 'It is in use' },
  'revision-mismatch': { status: 412, exit: refused, title: 'It has changed since it was read' },
  'idempotency-conflict': {
    status: 422,
    exit: refused,
    title: 'The idempotency key was used for another request',
  },
  'plan-refused': { status: 409, exit: refused, title: 'The change is not possible' },
  'accelerator-unavailable': { status: 409, exit: refused, title: 'The accelerator is not usable' },
  'not-enough-memory': { status: 409, exit: refused, title: 'The host has not enough memory' },
  'not-enough-cpus': { status: 409, exit: refused, title: 'The host has not enough CPUs' },
  'not-enough-space': { status: 507, exit: hostFailed, title: 'A disk of the host is full' },
  'secret-refused': { status: 409, exit: refused, title: 'The secret does not fit' },
  'volume-damaged': { status: 409, exit: refused, title: 'The volume is damaged' },
  'pool-inactive': { status: 409, exit: refused, title: 'The pool is not started' },
  'pool-unreachable': { status: 503, exit: hostFailed, title: 'The pool does not answer' },
  'pool-refused': { status: 422, exit: refused, title: 'This cannot be a pool' },
  'network-inactive': { status: 409, exit: refused, title: 'The network is not started' },
  'network-refused': { status: 422, exit: refused, title: 'This cannot be a network' },
  'image-refused': { status: 422, exit: refused, title: 'The image is not acceptable' },
  'checksum-mismatch': { status: 422, exit: refused, title: 'The checksum differs' },
  'address-refused': { status: 422, exit: refused, title: 'The address is not allowed' },
  'download-failed': { status: 502, exit: hostFailed, title: 'The download did not succeed' },
  unsupported: { status: 409, exit: refused, title: 'This host cannot do this' },
  'guest-agent-unavailable': { status: 409, exit: refused, title: 'The guest agent does not answer' },
  'guest-refused': { status: 409, exit: refused, title: 'The guest did not do what it was asked' },
  'ticket-invalid': { status: 403, exit: refused, title: 'The ticket is not valid' },
  'console-taken': { status: 409, exit: refused, title: 'Somebody else is writing to the console' },
  'events-gone': { status: 410, exit: refused, title: 'Events that old are no longer kept' },
  'too-many-requests': { status: 429, exit: refused, title: 'Too many requests are waiting' },
  'range-refused': { status: 416, exit: usage, title: 'There is no such part' },
  'too-large': { status: 413, exit: usage, title: 'The request is too large' },
  cancelled: { status: 409, exit: refused, title: 'The job was cancelled' },
  'deadline-exceeded': { status: 504, exit: hostFailed, title: 'It took too long' },
  'emulator-missing': { status: 500, exit: hostFailed, title: 'QEMU is missing or too old' },
  'emulator-failed': { status: 500, exit: hostFailed, title: 'The emulator did not start or has ended' },
  'emulator-unresponsive': { status: 504, exit: hostFailed, title: 'The emulator does not answer' },
  'host-failed': { status: 500, exit: hostFailed, title: 'The host did not do what was asked' },
  'store-damaged': { status: 500, exit: hostFailed, title: 'The store is damaged' },
  'store-too-new': { status: 500, exit: hostFailed, title: 'The store belongs to a newer version' },
  'store-unwritable': { status: 507, exit: hostFailed, title: 'The store cannot be written' },
  'daemon-running': { status: 409, exit: refused, title: 'Another daemon uses this state directory' },
  'shutting-down': { status: 503, exit: unreachable, title: 'The daemon is shutting down' },
  internal: { status: 500, exit: hostFailed, title: 'A defect of Kvasir' },
  unreachable: { status: 503, exit: unreachable, title: 'The daemon cannot be reached' },
} as const satisfies Record<string, { status: number; exit: number; title: string }>

export type ErrorCode = keyof typeof errorTable

/** An RFC 9457 problem document; `detail` is the sentence, `code` the row of the table. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: ErrorCode
  readonly detail: string
  readonly details?: Readonly<Record<string, unknown>> | undefined
}

/** A refusal: a code of the table, a sentence with subject, state and consequence, details for machines, and what caused it. */
export class KvasirError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorCode,
    sentence: string,
    options: { details?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(sentence, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'KvasirError'
    this.code = code
    this.details = options.details ?? {}
  }

  /** The error as a problem document. The cause stays in the log. */
  toProblem(): Problem {
    const row = errorTable[this.code]
    return {
      type: `https://kvasir.invalid/errors/${this.code}`,
      title: row.title,
      status: row.status,
      code: this.code,
      detail: this.message,
      ...(Object.keys(this.details).length > 0 ? { details: { ...this.details } } : {}),
    }
  }

  /** The error that a problem document describes. */
  static fromProblem(document: Problem): KvasirError {
    return new KvasirError(document.code, document.detail, { details: document.details ?? {} })
  }
}
