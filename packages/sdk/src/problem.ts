/** Problem documents (RFC 9457) read from answers, without zod and from daemons older or newer than this client. */
import { type ErrorCode, errorTable, KvasirError } from '@kvasir/contract/error-table'
import type { DaemonAddress } from './address.ts'

/** The refusal that an answer describes; `unreachable` when it is no problem document, so that something else answers there. */
export function problemFrom(
  answer: { readonly status: number; readonly body: Buffer },
  address: DaemonAddress,
): KvasirError {
  const document = parseObject(answer.body)
  const { code, detail, details } = document
  if (typeof code !== 'string' || typeof detail !== 'string') {
    return new KvasirError(
      'unreachable',
      `What answers at ${address.text} is not Kvasir: it answered ${answer.status} without saying why.`,
    )
  }
  const known = isErrorCode(code)
  return new KvasirError(known ? code : 'internal', detail, {
    details: { ...(isObject(details) ? details : {}), ...(known ? {} : { code }) },
  })
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code)
}

function parseObject(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
