/**
 * The REST and WebSocket API: one router, reached through any number of HTTP servers.
 *
 * Order of a request: limits, caller, origin, body, schema, handler. Every answer that is not a success is a problem document.
 *
 * Not here: where the servers listen (host/api-socket), what an endpoint does (services), what it is (contract).
 */
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { Server } from 'node:net'
import { endpoints, KvasirError } from '@kvasir/contract'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Caller } from '../services/handlers.ts'
import { authenticate, refuseForeignOrigin, type Transport } from './access.ts'
import type { ApiOptions } from './api-options.ts'
import { bindEndpoints } from './bind-endpoints.ts'
import { readContents } from './contents.ts'
import { parseJsonBody } from './json-body.ts'
import { apiLimits } from './limits.ts'
import { problemType, rawProblem, refusalOf, refusalOfGarbage, writeProblem } from './problems.ts'
import { Streams } from './streams/streams.ts'

/** A certificate and its key, in PEM. */
export interface TlsIdentity {
  readonly cert: string | Buffer
  readonly key: string | Buffer
}

export interface Api {
  /** A server for the UNIX socket, not yet listening; whoever can connect is trusted. */
  unixServer(): Server
  /** A server for TCP, not yet listening; callers need a token. Without TLS only for loopback addresses. */
  tcpServer(tls: TlsIdentity | undefined): Server
  /** Refuses new requests, gives those under way `graceMs`, then closes every connection. */
  close(options: { readonly graceMs: number }): Promise<void>
}

/** Makes the API. Nothing listens yet. */
export async function createApi(options: ApiOptions): Promise<Api> {
  return await ApiServer.create(options)
}

class ApiServer implements Api {
  readonly #options: ApiOptions
  readonly #app: FastifyInstance
  readonly #streams: Streams
  readonly #servers = new Set<http.Server>()
  readonly #transports = new WeakMap<http.IncomingMessage, Transport>()
  readonly #callers = new WeakMap<http.IncomingMessage, Caller>()
  #inFlight = 0
  #closing = false

  static async create(options: ApiOptions): Promise<ApiServer> {
    const api = new ApiServer(options)
    await api.#app.ready()
    return api
  }

  private constructor(options: ApiOptions) {
    this.#options = options
    this.#streams = new Streams(options)
    this.#app = Fastify({
      logger: false,
      bodyLimit: apiLimits.bodyBytes,
      routerOptions: { maxParamLength: apiLimits.headerBytes },
      // What the router itself refuses, such as a broken percent encoding.
      frameworkErrors: (error, _request, reply) => writeProblem(reply.raw, refusalOf(error, options.log)),
    })
    this.#readBodies()
    this.#guard()
    this.#answerProblems()
    bindEndpoints(this.#app, options, (request) => this.#callerOf(request))
    this.#bindDocuments()
  }

  unixServer(): Server {
    return this.#adopt(http.createServer(serverOptions), 'unix')
  }

  tcpServer(tls: TlsIdentity | undefined): Server {
    if (!tls) return this.#adopt(http.createServer(serverOptions), 'tcp')
    return this.#adopt(https.createServer({ ...serverOptions, ...tls, minVersion: 'TLSv1.2' }), 'tcp')
  }

  async close({ graceMs }: { readonly graceMs: number }): Promise<void> {
    this.#closing = true
    this.#streams.close()
    const closed = [...this.#servers].map(async (server) => {
      if (!server.listening) return
      server.close()
      server.closeIdleConnections()
      const force = setTimeout(() => server.closeAllConnections(), graceMs)
      await once(server, 'close')
      clearTimeout(force)
    })
    await Promise.all(closed)
    await this.#app.close()
  }

  #adopt(server: http.Server, transport: Transport): http.Server {
    server.maxConnections = apiLimits.connections
    server.maxHeadersCount = apiLimits.headerCount
    server.on('request', (request, response) => {
      this.#transports.set(request, transport)
      this.#app.routing(request, response)
    })
    server.on('upgrade', (request, socket, head) => {
      this.#streams.accept({ request, socket, head, transport, closing: this.#closing })
    })
    server.on('clientError', (error, socket) => {
      const refusal = refusalOfGarbage(error)
      if (refusal && socket.writable) socket.end(rawProblem(refusal), () => socket.destroy())
      else socket.destroy()
    })
    this.#servers.add(server)
    return server
  }

  #readBodies(): void {
    this.#app.removeAllContentTypeParsers()
    this.#app.addContentTypeParser(
      'application/json',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string | Buffer) =>
        parseJsonBody(body.toString(), apiLimits.bodyDepth),
    )
    readContents(this.#app, ({ routeOptions }) => takesContents(routeOptions.config))
  }

  #guard(): void {
    this.#app.addHook('onRequest', async (request, reply) => {
      reply.header('X-Content-Type-Options', 'nosniff').header('Cache-Control', 'no-store')
      if (this.#closing)
        throw new KvasirError('shutting-down', 'The daemon is shutting down, so the request is refused.')
      if (this.#inFlight >= apiLimits.requestsInFlight)
        throw new KvasirError(
          'too-many-requests',
          `${apiLimits.requestsInFlight} requests are under way already, so this one is refused.`,
        )
      this.#inFlight++
      reply.raw.once('close', () => this.#inFlight--)
      const transport = this.#transports.get(request.raw) ?? 'tcp'
      this.#callers.set(request.raw, authenticate(request.raw, transport, this.#options.tokens))
      refuseForeignOrigin(request.raw, transport, this.#options.origins ?? [])
    })
  }

  #callerOf(request: FastifyRequest): Caller {
    const caller = this.#callers.get(request.raw)
    if (!caller) throw new KvasirError('unauthorized', 'The caller is not known, so the request is refused.')
    return caller
  }

  #answerProblems(): void {
    this.#app.setErrorHandler((error, _request, reply) => {
      const problem = refusalOf(error, this.#options.log).toProblem()
      if (problem.status === 401) reply.header('WWW-Authenticate', 'Bearer')
      return reply.code(problem.status).type(problemType).send(JSON.stringify(problem))
    })
    this.#app.setNotFoundHandler((request, reply) => {
      const problem = unknownEndpoint(request.method, request.url).toProblem()
      return reply.code(problem.status).type(problemType).send(JSON.stringify(problem))
    })
  }

  #bindDocuments(): void {
    this.#app.get('/v1/openapi.json', async (_request, reply) => {
      const { openApiDocument } = await import('@kvasir/contract/openapi')
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(openApiDocument()))
    })
    this.#app.get('/metrics', async (_request, reply) => {
      const { contentType, body } = await this.#options.metrics.render()
      return reply.type(contentType).send(body)
    })
  }
}

/** What `bindEndpoints` says of a route. */
function takesContents(config: object): boolean {
  return 'takesContents' in config && config.takesContents === true
}

function unknownEndpoint(method: string, url: string): KvasirError {
  const path = url.split('?')[0] ?? ''
  const shown = path.length > maxShownPath ? `${path.slice(0, maxShownPath)}…` : path
  const known = Object.values(endpoints).filter((endpoint) => isPathOf(endpoint.path, path))
  const methods = [...new Set(known.map((endpoint) => endpoint.method))]
  const consequence = methods.length > 0 ? `The path takes ${methods.join(' and ')}.` : 'Nothing was done.'
  return new KvasirError('unknown-endpoint', `There is no endpoint ${method} ${shown}. ${consequence}`)
}

const maxShownPath = 200

function isPathOf(pattern: string, path: string): boolean {
  const parts = path.split('/')
  const wanted = pattern.split('/')
  return (
    wanted.length === parts.length && wanted.every((part, at) => part.startsWith('{') || part === parts[at])
  )
}

const serverOptions = {
  maxHeaderSize: apiLimits.headerBytes,
  headersTimeout: apiLimits.headersTimeoutMs,
  requestTimeout: apiLimits.requestTimeoutMs,
  keepAliveTimeout: apiLimits.keepAliveTimeoutMs,
  connectionsCheckingInterval: apiLimits.timeoutCheckMs,
  // A request to upgrade to anything else is served as if it had not asked.
  shouldUpgradeCallback: (request: http.IncomingMessage) =>
    request.headers.upgrade?.toLowerCase() === 'websocket',
} satisfies http.ServerOptions
