/**
 * The client: calls an endpoint of the contract by its value and gives its answer, typed.
 *
 *     const kvasir = createClient({ url: 'unix:///run/kvasir/kvasir.sock' })
 *     const vm = await kvasir.call(endpoints.getVm, { params: { name: 'web1' } })
 *
 * Called with an endpoint, an answer is checked against its schema. Called with a route (the same endpoint without schemas, of
 * `@kvasir/contract/routes`), the daemon's word is taken; that is what programs do that must start without loading zod.
 *
 * Every refusal is a `KvasirError`; a daemon that cannot be reached is one with the code `unreachable`.
 */
import type { Endpoint, EndpointId, Endpoints } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { z } from 'zod'
import { type DaemonAddress, defaultUrl, parseDaemonUrl, unixAddress } from './address.ts'
import type { ChangeDownload, Download, DownloadOptions, UploadPart } from './contents.ts'
import type { EventOptions } from './events.ts'
import { createAgent, type HttpAnswer, sendRequest } from './http-request.ts'
import type { MessageSocket, SocketOptions } from './message-socket.ts'
import { problemFrom } from './problem.ts'

/** How long an answer is waited for when nothing else is said. */
export const defaultTimeoutMs = 30_000

/** An endpoint without its schemas. */
export type Route = (typeof routes)[EndpointId]

/** What can be called. */
export type Callable = Endpoint | Route

type EndpointOf<T extends Callable> = T extends Endpoint ? T : Endpoints[T['id'] & EndpointId]

/** What an endpoint answers. */
export type AnswerOf<T extends Callable> = z.output<EndpointOf<T>['response']>

type Given<Key extends string, Schema extends z.ZodType> =
  undefined extends z.input<Schema>
    ? { readonly [K in Key]?: z.input<Schema> }
    : Record<never, never> extends z.input<Schema>
      ? { readonly [K in Key]?: z.input<Schema> }
      : { readonly [K in Key]: z.input<Schema> }

/** How a call travels. */
export interface TransportOptions {
  readonly signal?: AbortSignal | undefined
  /** How long to wait for the answer; a `wait` in the query is added to it. */
  readonly timeoutMs?: number | undefined
  /** Makes a repeated create give the first one's answer. */
  readonly idempotencyKey?: string | undefined
  /** The revision that was read; the call is refused when it has changed. */
  readonly ifMatch?: number | undefined
}

/** What a call takes: the endpoint's params, query and body, and how it travels. */
export type CallOptions<T extends Callable> = TransportOptions &
  Given<'params', EndpointOf<T>['params']> &
  Given<'query', EndpointOf<T>['query']> &
  Given<'body', EndpointOf<T>['body']>

type CallArguments<T extends Callable> =
  Record<never, never> extends CallOptions<T> ? [options?: CallOptions<T>] : [options: CallOptions<T>]

/** A daemon, ready to be called. */
export interface Client {
  readonly address: DaemonAddress
  /** Calls an endpoint. Throws `KvasirError`, or the signal's reason. */
  call<T extends Callable>(target: T, ...rest: CallArguments<T>): Promise<AnswerOf<T>>
  /** Every event after a sequence number, and all that follow; reconnects by itself. */
  events(options?: EventOptions): AsyncGenerator<import('@kvasir/contract').Event, void, void>
  /** Opens a WebSocket of the daemon, such as a console's, with a one-time ticket. */
  openStream(path: string, options?: SocketOptions & { readonly ticket?: string }): Promise<MessageSocket>
  /** Asks for what a guest would read from a volume. */
  openDownload(params: VolumePlace, options?: DownloadOptions): Promise<Download>
  /** Asks for a disk as it was at an instant that is kept, or for what had changed of it by then. */
  openInstant(params: InstantPlace, options?: DownloadOptions): Promise<ChangeDownload>
  /** Sends a part of a volume that is being uploaded, from where there is nothing yet. */
  sendPart(
    params: VolumePlace,
    options: UploadPart & { readonly offset: number },
  ): Promise<{ readonly offsetBytes: number; readonly sizeBytes: number }>
  /** Closes the idle connections. */
  close(): void
}

/** Which volume. */
export interface VolumePlace {
  readonly pool: string
  readonly volume: string
}

/** Which disk of which instant of which VM. */
export interface InstantPlace {
  readonly name: string
  readonly instant: string
  readonly disk: string
}

/** Where the daemon is and who asks; without either, the default socket. */
export interface ClientOptions {
  readonly url?: string | undefined
  readonly socketPath?: string | undefined
  readonly token?: string | undefined
}

/** Makes a client; connects at the first call. Throws `bad-request` for an address that is none. */
export function createClient(options: ClientOptions = {}): Client {
  const address =
    options.socketPath === undefined
      ? parseDaemonUrl(options.url ?? defaultUrl)
      : unixAddress(options.socketPath)
  const headers: Record<string, string> = options.token ? { authorization: `Bearer ${options.token}` } : {}
  const agent = createAgent(address)

  const client: Client = {
    address,
    async call(target, ...[given]) {
      const loose: LooseOptions = given ?? {}
      const answer = await sendRequest(address, {
        method: target.method,
        path: pathOf(target, loose),
        headers: { ...headers, ...requestHeaders(loose) },
        body: loose.body === undefined ? undefined : JSON.stringify(loose.body),
        timeoutMs: (loose.timeoutMs ?? defaultTimeoutMs) + waitedMs(loose.query),
        signal: loose.signal,
        // A reused connection may be closed by the daemon just as the request leaves; only what may be repeated runs that risk.
        agent: target.method === 'GET' ? agent : undefined,
      })
      return readResult(target, answer, address)
    },
    async *events(eventOptions = {}) {
      const { followEvents } = await import('./events.ts')
      yield* followEvents(client, eventOptions)
    },
    async openStream(path, { ticket, ...socketOptions } = {}) {
      const { openMessageSocket } = await import('./message-socket.ts')
      const query =
        ticket === undefined ? '' : `${path.includes('?') ? '&' : '?'}ticket=${encodeURIComponent(ticket)}`
      return openMessageSocket(address, path + query, { ...socketOptions, headers })
    },
    async openDownload(params, downloadOptions = {}) {
      const { openDownload } = await import('./contents.ts')
      const path = pathOf(routes.downloadVolume, { params })
      return await openDownload({ address, path, headers }, downloadOptions)
    },
    async openInstant(params, downloadOptions = {}) {
      const { openChanges } = await import('./contents.ts')
      const path = pathOf(routes.readInstant, { params })
      return await openChanges({ address, path, headers }, downloadOptions)
    },
    async sendPart(params, { offset, ...part }) {
      const { sendPart } = await import('./contents.ts')
      const path = pathOf(routes.sendUpload, { params, query: { offset } })
      return await sendPart({ address, path, headers }, part)
    },
    close: () => agent.destroy(),
  }
  return client
}

/** The options of a call without what the endpoint's types say of them. */
interface LooseOptions extends TransportOptions {
  readonly params?: unknown
  readonly query?: unknown
  readonly body?: unknown
}

function requestHeaders(options: LooseOptions): Record<string, string> {
  return {
    accept: 'application/json, application/problem+json, */*',
    ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
    ...(options.ifMatch === undefined ? {} : { 'if-match': `"${options.ifMatch}"` }),
  }
}

function pathOf(target: Callable, options: LooseOptions): string {
  const params = new Map(Object.entries(options.params ?? {}))
  const path = target.path.replace(/\{(\w+)\}/g, (_, key: string) => pathSegment(key, params.get(key)))
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined) query.set(key, String(value))
  }
  return query.size > 0 ? `${path}?${query.toString()}` : path
}

/** A value as one segment of a path; what would name another path is refused here, since a server may tidy it away. */
function pathSegment(key: string, value: unknown): string {
  const text = typeof value === 'string' ? value : ''
  if (text === '' || text === '.' || text === '..') {
    throw new KvasirError('bad-request', `${JSON.stringify(text)} is not a ${key}, so nothing was asked.`)
  }
  return encodeURIComponent(text.toWellFormed())
}

function waitedMs(query: unknown): number {
  const wait = new Map(Object.entries(query ?? {})).get('wait')
  return Number.isFinite(Number(wait)) ? Number(wait) * 1000 : 0
}

function readResult<T extends Callable>(target: T, answer: HttpAnswer, address: DaemonAddress): AnswerOf<T> {
  if (answer.status >= 400 || answer.status < 200) throw problemFrom(answer, address)
  const value = decode(target, answer, address)
  if (!('response' in target)) return value as AnswerOf<T> // A route carries no schema: the daemon's word is taken.
  const parsed = target.response.safeParse(value)
  if (parsed.success) return parsed.data as AnswerOf<T> // Parsed by the very schema that AnswerOf reads.
  const issue = parsed.error.issues[0]
  throw new KvasirError(
    'internal',
    `The daemon's answer to ${target.id} is not what the contract says at ${issue?.path.join('.') || 'its root'}: ${issue?.message ?? ''}.`,
    { cause: parsed.error },
  )
}

function decode(target: Callable, answer: HttpAnswer, address: DaemonAddress): unknown {
  switch (target.answer) {
    case 'none':
      return undefined
    case 'text':
      return answer.body.toString('utf8')
    case 'contents':
    case 'png':
    case 'bytes':
      return new Uint8Array(answer.body)
    case 'json':
      try {
        return JSON.parse(answer.body.toString('utf8'))
      } catch (cause) {
        throw new KvasirError(
          'unreachable',
          `What answers at ${address.text} is not Kvasir: its answer is not JSON.`,
          {
            cause,
          },
        )
      }
  }
}
