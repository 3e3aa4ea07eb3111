/**
 * A server for tests of clients: it answers on a UNIX socket of its own what a test tells it, and keeps what it was asked.
 *
 * It speaks HTTP and WebSocket but knows no VM; what a daemon decides is tested with the daemon.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ErrorCode, KvasirError } from '@kvasir/contract/error-table'
import { type WebSocket, WebSocketServer } from 'ws'

/** A request as it came. */
export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

/** What to answer: JSON, a refusal, or the whole of the response. */
export type Reply =
  | { readonly status?: number; readonly json: unknown }
  | { readonly status?: number; readonly bytes: Buffer; readonly type: string }
  | { readonly refuse: ErrorCode; readonly sentence: string }
  | { readonly cut: true }
  | { readonly hang: true }

/** What a test says: an answer to each request, and what to do with each WebSocket. */
export interface Script {
  readonly request?: (asked: Asked) => Reply | Promise<Reply>
  readonly stream?: (socket: WebSocket, asked: Asked) => void
  /** Refuses a WebSocket before it is one. */
  readonly refuseStream?: (asked: Asked) => KvasirError | undefined
}

/** A running server. */
export interface ScriptedDaemon extends AsyncDisposable {
  readonly socketPath: string
  readonly url: string
  readonly asked: readonly Asked[]
  /** How many connections were made so far. */
  connectionsMade(): number
}

/** Starts a server that follows a script; disposing of it ends it and every connection. */
export async function startScriptedDaemon(script: Script): Promise<ScriptedDaemon> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-scripted-'))
  const socketPath = join(folder, 'kvasir.sock')
  const asked: Asked[] = []
  const connections = new Set<Socket>()
  let made = 0
  const streams = new WebSocketServer({ noServer: true })

  const server = createServer((incoming, response) => {
    void readAsked(incoming).then(async (request) => {
      asked.push(request)
      const missing: Reply = {
        refuse: 'unknown-endpoint',
        sentence: `The script has nothing for ${request.path}.`,
      }
      reply(response, (await script.request?.(request)) ?? missing)
    })
  })
  server.on('connection', (socket) => {
    made++
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
  })
  server.on('upgrade', (incoming, socket, head) => {
    const request = toAsked(incoming, undefined)
    asked.push(request)
    const refusal = script.refuseStream?.(request)
    if (refusal !== undefined) {
      const body = JSON.stringify(refusal.toProblem())
      const status = refusal.toProblem().status
      socket.end(
        `HTTP/1.1 ${status} Refused\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      )
      return
    }
    streams.handleUpgrade(incoming, socket, head, (stream) => script.stream?.(stream, request))
  })

  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.on('error', reject)
  server.listen(socketPath, resolve)
  await promise
  return {
    socketPath,
    url: `unix://${socketPath}`,
    asked,
    connectionsMade: () => made,
    async [Symbol.asyncDispose]() {
      for (const stream of streams.clients) stream.terminate()
      for (const socket of connections) socket.destroy()
      const closed = Promise.withResolvers<void>()
      server.close(() => closed.resolve())
      await closed.promise
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function reply(response: ServerResponse, answer: Reply): void {
  if ('hang' in answer) return
  if ('cut' in answer) {
    response.destroy()
    return
  }
  if ('refuse' in answer) {
    const problem = new KvasirError(answer.refuse, answer.sentence).toProblem()
    response
      .writeHead(problem.status, { 'content-type': 'application/problem+json' })
      .end(JSON.stringify(problem))
    return
  }
  if ('bytes' in answer) {
    response.writeHead(answer.status ?? 200, { 'content-type': answer.type }).end(answer.bytes)
    return
  }
  const status = answer.status ?? 200
  if (status === 204) response.writeHead(204).end()
  else response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.json))
}

async function readAsked(incoming: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) {
    if (Buffer.isBuffer(chunk)) chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  return toAsked(incoming, text === '' ? undefined : JSON.parse(text))
}

function toAsked(incoming: IncomingMessage, body: unknown): Asked {
  const url = new URL(incoming.url ?? '/', 'http://kvasir')
  const path = decodeURIComponent(url.pathname)
  return { method: incoming.method ?? '', path, query: url.searchParams, headers: incoming.headers, body }
}
