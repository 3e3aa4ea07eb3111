/** For tests: the API on an abstract UNIX socket (no file), with handlers given by the test, and clients that can misbehave. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { connect } from 'node:net'
import { type EndpointId, type Event, endpoints, KvasirError, type Vm, vmSpec } from '@kvasir/contract'
import { WebSocket } from 'ws'
import type { ConsoleDesk } from '../../services/consoles/console-desk.ts'
import type { EventFeed, Handlers } from '../../services/handlers.ts'
import type { AnswerStore, ApiOptions } from '../api-options.ts'
import { type Api, createApi } from '../create-api.ts'

export interface Answered {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly json: unknown
}

export interface Sent {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, unless it is a string, which is sent as it is. */
  readonly body?: unknown
}

/** An API that runs, and the ways to talk to it. */
export interface RunningApi extends AsyncDisposable {
  readonly api: Api
  readonly address: string
  readonly logged: readonly { readonly level: string; readonly fields: Record<string, unknown> }[]
  send(path: string, request?: Sent): Promise<Answered>
  /** Sends bytes as they are and gives all that comes back until the connection closes. */
  sendRaw(bytes: string | Uint8Array): Promise<string>
  openSocket(path: string): WebSocket
}

type GivenOptions = Partial<Omit<ApiOptions, 'handlers'>> & { readonly handlers?: Partial<Handlers> }

/** Starts an API. Handlers that the test does not give meet a defect. */
export async function startApi(given: GivenOptions = {}): Promise<RunningApi> {
  const logged: { level: string; fields: Record<string, unknown> }[] = []
  const note = (level: string) => (fields: Record<string, unknown>) => void logged.push({ level, fields })
  const api = await createApi({
    feed: new MemoryFeed(),
    consoles: noConsoles,
    metrics: { render: async () => ({ contentType: 'text/plain', body: '' }) },
    idempotency: memoryAnswers(),
    log: { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') },
    now: () => new Date().toISOString(),
    tokens: [],
    validateResponses: true,
    ...given,
    handlers: { ...missingHandlers(), ...given.handlers },
  })
  const address = `\0kvasir-test-${randomUUID()}`
  const server = api.unixServer()
  server.listen(address)
  await once(server, 'listening')
  return {
    api,
    address,
    logged,
    send: (path, request = {}) => send({ socketPath: address }, path, request),
    sendRaw: (bytes) => sendRaw(address, bytes),
    openSocket: (path) =>
      new WebSocket(`ws://kvasir${path}`, {
        createConnection: () => connect(address),
        perMessageDeflate: false,
      }),
    [Symbol.asyncDispose]: () => api.close({ graceMs: 0 }),
  }
}

/** Sends one request on a connection of its own. */
export async function send(
  target: http.RequestOptions,
  path: string,
  { method = 'GET', headers = {}, body }: Sent,
): Promise<Answered> {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const request = http.request({
    ...target,
    path,
    method,
    agent: false,
    headers: {
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
      ...headers,
    },
  })
  request.end(text)
  // A refusal may come and close the connection while the body is still being sent; without an answer `once` rejects.
  request.on('error', () => {})
  const answered: Promise<[http.IncomingMessage]> = once(request, 'response') as Promise<
    [http.IncomingMessage]
  > // What Node emits.
  const [response] = await answered
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const received = Buffer.concat(chunks).toString()
  const isJson = /json/.test(response.headers['content-type'] ?? '')
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: received,
    json: isJson ? JSON.parse(received) : undefined,
  }
}

async function sendRaw(address: string, bytes: string | Uint8Array): Promise<string> {
  const socket = connect(address)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {}) // A refusal may reset the connection while the rest is still being sent.
  const closed = once(socket, 'close')
  await once(socket, 'connect')
  socket.write(bytes)
  await closed
  return Buffer.concat(chunks).toString()
}

/** A feed in memory that keeps the last events only. */
export class MemoryFeed implements EventFeed {
  readonly #kept: Event[] = []
  readonly #listeners = new Set<(event: Event) => void>()
  readonly #capacity: number
  #latest = 0

  constructor(capacity = 100_000) {
    this.#capacity = capacity
  }

  get listeners(): number {
    return this.#listeners.size
  }

  emit(subject = 'web1'): void {
    const event: Event = {
      seq: ++this.#latest,
      at: '2026-01-01T00:00:00.000Z',
      kind: 'vm.changed',
      subject,
      data: {},
    }
    this.#kept.push(event)
    if (this.#kept.length > this.#capacity) this.#kept.shift()
    for (const listener of this.#listeners) listener(event)
  }

  range(): { oldest: number; latest: number } {
    return { oldest: this.#kept[0]?.seq ?? 0, latest: this.#latest }
  }

  read(after: number, limit: number): readonly Event[] {
    const from = Math.max(0, after + 1 - (this.#kept[0]?.seq ?? 1))
    return this.#kept.slice(from, from + limit)
  }

  subscribe(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** Answers to idempotent requests, in memory. */
export function memoryAnswers(): AnswerStore {
  const kept = new Map<string, { requestHash: string; status: number; body: string }>()
  return { find: (key) => kept.get(key), remember: (key, answer) => void kept.set(key, answer) }
}

/** A VM as a handler answers it. */
export function sampleVm(name: string, revision = 1): Vm {
  return {
    name,
    uuid: '8f9d6d8e-3a51-4f9e-9d0c-3c8f0a1b2c3d',
    revision,
    createdAt: '2026-01-01T00:00:00.000Z',
    spec: vmSpec.parse({}),
    status: { state: 'shutoff', reason: 'created', since: '2026-01-01T00:00:00.000Z' },
  }
}

function missingHandlers(): Handlers {
  const missing = async (): Promise<never> => {
    throw new Error('The test gave no handler for this endpoint.')
  }
  const ids = Object.keys(endpoints) as EndpointId[] // The keys of a closed table.
  return Object.fromEntries(ids.map((id) => [id, missing])) as unknown as Handlers // Each id has the handler that never answers.
}

const refuse = (): never => {
  throw new KvasirError('ticket-invalid', 'The ticket is not known, so the connection is refused.')
}

const noConsoles: ConsoleDesk = {
  issueSerial: refuse,
  issueVnc: refuse,
  issueSpice: refuse,
  joinSpice: async () => refuse(),
  issueChannel: refuse,
  joinChannel: async () => refuse(),
  issueNbd: refuse,
  joinNbd: async () => refuse(),
  joinSerial: async () => refuse(),
  joinVnc: async () => refuse(),
  vmEnded: () => {},
  close: () => {},
}
