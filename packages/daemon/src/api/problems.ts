/**
 * Problems: every refusal leaves the API as an RFC 9457 document with a code of the contract's table. What is not a refusal is a
 * defect: it is logged with its stack under an id, and the client learns only the id.
 */
import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { KvasirError } from '@kvasir/contract'
import { refusalFrom } from '../services/refusal-of.ts'
import type { ApiLog } from './api-options.ts'
import { apiLimits } from './limits.ts'

export const problemType = 'application/problem+json; charset=utf-8'

/** The refusal that an error of a handler, of fastify or of Node stands for. */
export function refusalOf(error: unknown, log: ApiLog): KvasirError {
  if (error instanceof KvasirError) return error
  const known = refusalOfFastify(error) ?? refusalFrom(error)
  if (known) {
    if (known.cause !== undefined && known.code !== 'cancelled')
      log.error({ err: error }, 'a request was refused by the host')
    return known
  }
  const id = randomUUID()
  log.error({ err: error, id }, 'a request met a defect')
  return new KvasirError(
    'internal',
    `Kvasir met a defect of its own, so the request was not completed; the daemon's log says more under ${id}.`,
    { details: { id }, cause: error },
  )
}

/** A whole HTTP/1.1 answer with a problem, for sockets that have no response object. */
export function rawProblem(refusal: KvasirError): string {
  const problem = refusal.toProblem()
  const body = JSON.stringify(problem)
  return [
    `HTTP/1.1 ${problem.status} Refused`,
    'Connection: close',
    `Content-Type: ${problemType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'X-Content-Type-Options: nosniff',
    '',
    body,
  ].join('\r\n')
}

/** Answers a problem outside of fastify's reply. */
export function writeProblem(response: ServerResponse, refusal: KvasirError): void {
  const problem = refusal.toProblem()
  response.writeHead(problem.status, { 'Content-Type': problemType, 'X-Content-Type-Options': 'nosniff' })
  response.end(JSON.stringify(problem))
}

/** The refusal of bytes on the socket that are not a request; undefined when there is nobody to tell. */
export function refusalOfGarbage(error: NodeJS.ErrnoException): KvasirError | undefined {
  const code = error.code ?? ''
  switch (code) {
    case 'ECONNRESET':
    case 'EPIPE':
      return undefined
    case 'HPE_HEADER_OVERFLOW':
      return new KvasirError(
        'too-large',
        `The request's headers are larger than ${apiLimits.headerBytes} bytes, so it was not read.`,
      )
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new KvasirError('bad-request', 'The request did not arrive in time, so it was not read.')
    default:
      return new KvasirError('bad-request', 'The bytes on this connection are not an HTTP request.')
  }
}

function refusalOfFastify(error: unknown): KvasirError | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new KvasirError(
        'too-large',
        `The body is larger than ${apiLimits.bodyBytes} bytes, so it was not read.`,
        { details: { limitBytes: apiLimits.bodyBytes } },
      )
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new KvasirError('bad-request', 'The body is not application/json, so it was not read.')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new KvasirError('bad-request', 'The body is not as long as Content-Length says.')
    case 'FST_ERR_BAD_URL':
      return new KvasirError('bad-request', 'The path is not a valid URL path.')
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return new KvasirError('bad-request', 'The connection ended before the request did.')
    default:
      return undefined
  }
}
