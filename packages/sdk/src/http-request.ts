/**
 * One HTTP request over a UNIX socket or TCP, with a deadline and a bound on the answer.
 *
 * node:http is taken with `process.getBuiltinModule`: an ESM import reads every export, one of which loads the whole of fetch and
 * WebSocket (30 ms; Node 26.10).
 */
import type { Agent, ClientRequest, IncomingMessage } from 'node:http'
import type { RequestOptions } from 'node:https'
import { KvasirError } from '@kvasir/contract/error-table'
import type { DaemonAddress } from './address.ts'

/** The largest answer that is read. */
const maxAnswerBytes = 256 * 1024 * 1024

/** A request; `path` begins with a slash and is already escaped. */
export interface HttpRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** The connections to reuse; without it a connection is made and closed. */
  readonly agent?: Agent | undefined
}

/** An answer, whole. */
export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: Buffer
}

/** Makes the pool of connections that a client reuses. */
export function createAgent(address: DaemonAddress): Agent {
  const secure = address.kind === 'tcp' && address.url.protocol === 'https:'
  const { Agent } = process.getBuiltinModule(secure ? 'node:https' : 'node:http')
  return new Agent({ keepAlive: true, maxSockets: 64 })
}

/** Sends a request and reads its answer. Throws `unreachable` when there is no daemon or no answer in time, and the signal's reason. */
export async function sendRequest(address: DaemonAddress, request: HttpRequest): Promise<HttpAnswer> {
  request.signal?.throwIfAborted()
  try {
    return await attempt(address, request)
  } catch (error) {
    if (error instanceof ReusedConnectionClosed) return attempt(address, { ...request, agent: undefined })
    throw error
  }
}

/** A kept connection that the daemon closed just as a request left; that request is sent again on a new one. */
class ReusedConnectionClosed extends Error {}

function attempt(address: DaemonAddress, request: HttpRequest): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>()
  const outgoing = openRequest(address, request)

  const deadline = setTimeout(() => outgoing.destroy(noAnswer(address, request.timeoutMs)), request.timeoutMs)
  const abort = (): void => void outgoing.destroy(abortError(request.signal))
  request.signal?.addEventListener('abort', abort, { once: true })

  outgoing.on('response', (incoming) => {
    readAnswer(outgoing, incoming).then(resolve, (error) => reject(describeFailure(error, address)))
  })
  outgoing.on('error', (error) => {
    const closed = outgoing.reusedSocket && 'code' in error && error.code === 'ECONNRESET'
    reject(closed ? new ReusedConnectionClosed() : describeFailure(error, address))
  })
  outgoing.end(request.body)

  return promise.finally(() => {
    clearTimeout(deadline)
    request.signal?.removeEventListener('abort', abort)
  })
}

/** A request that has been opened and not ended. */
export function openRequest(
  address: DaemonAddress,
  request: Pick<HttpRequest, 'method' | 'path' | 'headers' | 'body' | 'agent'>,
): ClientRequest {
  const secure = address.kind === 'tcp' && address.url.protocol === 'https:'
  return process
    .getBuiltinModule(secure ? 'node:https' : 'node:http')
    .request(requestOptions(address, request))
}

function requestOptions(
  address: DaemonAddress,
  request: Pick<HttpRequest, 'method' | 'path' | 'headers' | 'body' | 'agent'>,
): RequestOptions {
  const length =
    request.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(request.body)) }
  const options = {
    method: request.method,
    headers: { host: address.kind === 'unix' ? 'kvasir' : address.url.host, ...request.headers, ...length },
    agent: request.agent ?? false,
  }
  if (address.kind === 'unix') {
    // Without an empty servername the agent looks for one in the host, which compiles node:net's pattern of IPv6 addresses (5 ms).
    return { ...options, socketPath: address.socketPath, path: request.path, servername: '' }
  }
  const { hostname, port, pathname } = address.url
  return {
    ...options,
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port,
    path: pathname.replace(/\/$/, '') + request.path,
  }
}

/** Reads an answer to its end. `too-large` beyond the bound. */
export async function readAnswer(outgoing: ClientRequest, incoming: IncomingMessage): Promise<HttpAnswer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming) {
    if (!Buffer.isBuffer(chunk)) continue
    size += chunk.length
    if (size > maxAnswerBytes) {
      outgoing.destroy()
      throw new KvasirError(
        'too-large',
        `The daemon's answer is larger than ${maxAnswerBytes} bytes, so it was not read.`,
      )
    }
    chunks.push(chunk)
  }
  return {
    status: incoming.statusCode ?? 0,
    contentType: (incoming.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '',
    body: Buffer.concat(chunks),
  }
}

function noAnswer(address: DaemonAddress, timeoutMs: number): KvasirError {
  return new KvasirError(
    'unreachable',
    `The daemon at ${address.text} did not answer within ${timeoutMs / 1000} s.`,
  )
}

function abortError(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error
    ? signal.reason
    : new DOMException('The request was aborted.', 'AbortError')
}

/** A failure of a connection as a sentence that says what to do; an abort and a refusal stay what they are. */
export function describeFailure(error: unknown, address: DaemonAddress): unknown {
  if (!(error instanceof Error) || error instanceof KvasirError || error.name === 'AbortError') return error
  if (error.name === 'TimeoutError') return error
  const code = 'code' in error ? error.code : undefined
  return new KvasirError('unreachable', failureSentence(code, address), { cause: error })
}

function failureSentence(code: unknown, address: DaemonAddress): string {
  const start = 'start it with: kvasir daemon'
  switch (code) {
    case 'ENOENT':
      return `The daemon is not running: ${address.text} does not exist; ${start}`
    case 'ECONNREFUSED':
      return `The daemon is not running: nothing listens at ${address.text}; ${start}`
    case 'EACCES':
    case 'EPERM':
      return `The socket ${address.text} may not be opened by this user; join the group kvasir or become root.`
    case 'ECONNRESET':
    case 'EPIPE':
      return `The daemon at ${address.text} closed the connection before it answered.`
    default:
      return `The daemon at ${address.text} cannot be reached (${typeof code === 'string' ? code : 'not HTTP'}).`
  }
}
