/**
 * Binds every endpoint of the contract to its handler: path, parsing, status, headers, answer.
 *
 * Nothing here knows an endpoint by its name: what an answer's headers are follows from its schema.
 */
import {
  type Endpoint,
  type EndpointId,
  endpoints,
  job,
  KvasirError,
  receivedContents,
  type SentContents,
  vm,
} from '@kvasir/contract'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Caller, HandlerRequest } from '../services/handlers.ts'
import type { ApiOptions } from './api-options.ts'
import { sendContents } from './contents.ts'
import { IdempotentAnswers, type KeptAnswer, type KeyedRequest, parseIdempotencyKey } from './idempotency.ts'
import { invalidRequest, issuesOf, type RequestIssue } from './issues.ts'
import { localConnection } from './local-connection.ts'
import { etagOf, parseIfMatch } from './preconditions.ts'

type AnyRequest = HandlerRequest<EndpointId>
type AnyHandler = (request: AnyRequest) => Promise<unknown>

interface Binding {
  readonly endpoint: Endpoint
  readonly handler: AnyHandler
  readonly answers: IdempotentAnswers
  readonly validateResponses: boolean
  readonly callerOf: (request: FastifyRequest) => Caller
}

/** Adds a route for each endpoint. */
export function bindEndpoints(
  app: FastifyInstance,
  options: ApiOptions,
  callerOf: (request: FastifyRequest) => Caller,
): void {
  const answers = new IdempotentAnswers(options.idempotency, { now: options.now, log: options.log })
  for (const id of Object.keys(endpoints) as EndpointId[]) {
    const binding: Binding = {
      endpoint: endpoints[id],
      // What is parsed with the endpoint's schemas is what its handler takes; the compiler cannot follow that over all ids at once.
      handler: options.handlers[id] as unknown as AnyHandler,
      answers,
      validateResponses: options.validateResponses ?? false,
      callerOf,
    }
    app.route({
      method: binding.endpoint.method,
      url: routeOf(binding.endpoint.path),
      // A HEAD that is made of a GET reads all that it would have sent.
      exposeHeadRoute: binding.endpoint.answer !== 'contents',
      config: { takesContents: binding.endpoint.body === receivedContents },
      handler: (request, reply) => serve(binding, request, reply),
    })
  }
}

/** The path of a route: `/v1/vms/{name}` is `/v1/vms/:name` to the router. */
function routeOf(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1')
}

async function serve(binding: Binding, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { endpoint } = binding
  const parsed = parseRequest(binding, request, goneSignal(reply))
  const key = keyOf(endpoint, request)
  if (endpoint.answer === 'contents')
    // Its handler answers what the contract says; the compiler cannot follow that over all ids at once.
    return sendContents(
      request,
      reply,
      (await answer(binding, { ...parsed, keep: () => undefined })) as SentContents,
    )
  if (key === undefined)
    return send(endpoint, reply, await answer(binding, { ...parsed, keep: () => undefined }))

  const keyed: KeyedRequest = {
    key,
    caller: parsed.caller.name,
    method: endpoint.method,
    path: request.url,
    ifMatch: parsed.ifMatch,
    body: request.body ?? null,
  }
  const asKept = (value: unknown) => ({ status: endpoint.status, body: JSON.stringify(value) ?? '' })
  const kept = await binding.answers.once(keyed, async (keep) =>
    asKept(await answer(binding, { ...parsed, keep: (value) => keep(asKept(value)) })),
  )
  return sendKept(endpoint, reply, kept)
}

function parseRequest(
  binding: Binding,
  request: FastifyRequest,
  signal: AbortSignal,
): Omit<AnyRequest, 'keep'> {
  const { endpoint } = binding
  const issues: RequestIssue[] = []
  const params = endpoint.params.safeParse(request.params)
  if (!params.success) issues.push(...issuesOf('path', params.error.issues))
  const query = endpoint.query.safeParse(request.query)
  if (!query.success) issues.push(...issuesOf('query', query.error.issues))
  const body = endpoint.body.safeParse(bodyOf(endpoint, request))
  if (!body.success) issues.push(...issuesOf('body', body.error.issues))
  if (!params.success || !query.success || !body.success) throw invalidRequest(issues)
  const parsed = {
    params: params.data,
    query: query.data,
    body: body.data,
    caller: binding.callerOf(request),
    ifMatch: ifMatchOf(endpoint, request),
    connection: localConnection(request.raw.socket),
    signal,
  }
  return parsed as Omit<AnyRequest, 'keep'> // Parsed by the very schemas that the type is made of.
}

/** The body as sent; an empty object says nothing where no body is taken, so it is let pass. */
function bodyOf(endpoint: Endpoint, request: FastifyRequest): unknown {
  const { body } = request
  if (endpoint.method === 'GET') return undefined
  const isEmpty = typeof body === 'object' && body !== null && Object.keys(body).length === 0
  if (isEmpty && endpoint.body.safeParse(undefined).success) return undefined
  return body ?? (body === null ? null : undefined)
}

function ifMatchOf(endpoint: Endpoint, request: FastifyRequest): number | undefined {
  const revision = parseIfMatch(request.headers['if-match'])
  if (revision === undefined || endpoint.ifMatch || endpoint.method === 'GET') return revision
  throw new KvasirError(
    'bad-request',
    `${endpoint.method} ${endpoint.path} does not look at If-Match, so nothing was done.`,
  )
}

function keyOf(endpoint: Endpoint, request: FastifyRequest): string | undefined {
  const key = parseIdempotencyKey(request.headers['idempotency-key'])
  if (key === undefined || endpoint.method === 'GET') return undefined
  if (endpoint.idempotent) return key
  throw new KvasirError(
    'bad-request',
    `${endpoint.method} ${endpoint.path} takes no Idempotency-Key, so nothing was done.`,
  )
}

/** Aborted when the client goes before its answer. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished)
      gone.abort(new KvasirError('cancelled', 'The client went away, so its request was given up.'))
  })
  return gone.signal
}

async function answer(binding: Binding, parsed: AnyRequest): Promise<unknown> {
  const value = await binding.handler(parsed)
  if (!binding.validateResponses || binding.endpoint.answer !== 'json') return value
  const checked = binding.endpoint.response.safeParse(value)
  if (checked.success) return value
  throw new TypeError(`The answer of ${binding.endpoint.id} is not what the contract says.`, {
    cause: checked.error,
  })
}

const mediaTypes = {
  png: 'image/png',
  text: 'text/plain; charset=utf-8',
  bytes: 'application/octet-stream',
} as const

function send(endpoint: Endpoint, reply: FastifyReply, value: unknown): FastifyReply {
  reply.code(endpoint.status)
  switch (endpoint.answer) {
    case 'none':
      return reply.send()
    case 'json':
      describe(endpoint, reply, value)
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(value))
    case 'contents':
      throw new TypeError(`The contents that ${endpoint.id} answers are a stream.`)
    case 'png':
    case 'text':
    case 'bytes':
      return reply
        .type(mediaTypes[endpoint.answer])
        .send(typeof value === 'string' ? value : bytesOf(endpoint, value))
  }
}

function sendKept(
  endpoint: Endpoint,
  reply: FastifyReply,
  kept: KeptAnswer & { readonly replayed: boolean },
): FastifyReply {
  if (kept.replayed) reply.header('Idempotency-Replayed', 'true')
  reply.code(kept.status)
  if (kept.body === '') return reply.send()
  describe(endpoint, reply, JSON.parse(kept.body))
  return reply.type('application/json; charset=utf-8').send(kept.body)
}

/** The headers that follow from what is answered: a VM has an ETag, a job has a place. */
function describe(endpoint: Endpoint, reply: FastifyReply, value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  if (endpoint.response === vm && 'revision' in value && typeof value.revision === 'number')
    reply.header('ETag', etagOf(value.revision))
  if (endpoint.response === job && 'id' in value && typeof value.id === 'string')
    reply.header('Location', `/v1/jobs/${value.id}`)
}

function bytesOf(endpoint: Endpoint, value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw new TypeError(`The answer of ${endpoint.id} is not bytes.`)
}
