/**
 * What the host said, as a refusal with a code. Adapters speak in refusals themselves where they know what an error means; this is for
 * what gets past them, so that a full disk or a missing right is never called a defect of Kvasir.
 */
import { type ErrorCode, KvasirError } from '@kvasir/contract'

const codes: Readonly<Record<string, ErrorCode>> = { ENOSPC: 'not-enough-space', EDQUOT: 'not-enough-space' }

const consequence = 'so what was asked for was not done'

/** The refusal that an error stands for; undefined for what can only be a defect. */
export function refusalFrom(error: unknown): KvasirError | undefined {
  if (error instanceof KvasirError) return error
  // What failed comes first; that its undo failed too is in the log.
  if (error instanceof SuppressedError) return refusalFrom(error.suppressed) ?? refusalFrom(error.error)
  if (!(error instanceof Error)) return undefined
  if (error.name === 'AbortError')
    return new KvasirError('cancelled', `It was cancelled, ${consequence}.`, { cause: error })
  if (!isSystemError(error)) return undefined
  const { code, syscall, path } = error
  const where = path === undefined ? '' : ` of ${path}`
  return new KvasirError(
    codes[code] ?? 'host-failed',
    `The host refused ${syscall}${where} with ${code}, ${consequence}.`,
    { details: { code, syscall, ...(path === undefined ? {} : { path }) }, cause: error },
  )
}

/** Errors of system calls, as libuv gives them. */
function isSystemError(
  error: Error,
): error is Error & { readonly code: string; readonly syscall: string; readonly path?: string } {
  return (
    'code' in error &&
    typeof error.code === 'string' &&
    'syscall' in error &&
    typeof error.syscall === 'string'
  )
}
