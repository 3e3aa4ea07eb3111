/**
 * A session with the agent in the lab: programs are run there as if they were children of this process.
 *
 *     connect to every port ──hello──▶ the first that answers is ours, the others are let go
 *            ▲                   └────── silence: others have them all, or the lab still boots
 *            └───────────────────────────────┘
 *
 * Not here: what is said (agent/messages.ts), the lab's life (lab.ts).
 */
import { randomUUID } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { Reply, Request } from '../agent/messages.ts'

/** How long the ports may be silent before they are tried again. */
const helloMs = 5_000
const tryAgainMs = 100
const shellTimeoutMs = 120_000

/** How a program in the lab ended. */
export interface LabExit {
  readonly code: number | null
  readonly signal: string | null
}

/** A program to be run in the lab. */
export interface LabProgram {
  readonly argv: readonly [string, ...string[]]
  readonly cwd?: string
  /** All of its environment but PATH, HOME and LANG. */
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: Readable
  readonly stdout?: Writable
  readonly stderr?: Writable
  /** Gets both what it prints. */
  readonly onOutput?: (bytes: Buffer, fd: 1 | 2) => void
}

interface Running {
  readonly program: LabProgram
  readonly end: (exit: LabExit) => void
  readonly fail: (error: Error) => void
}

const labEnvironment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
}

/** One connection to the agent. */
export class AgentSession implements Disposable {
  /** Settles when the connection is over. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #running = new Map<number, Running>()
  #text = ''
  #lastId = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    const closed = Promise.withResolvers<void>()
    this.closed = closed.promise
    socket.on('error', () => {}) // Followed by the close.
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('close', () => {
      for (const { fail } of this.#running.values())
        fail(new Error('The lab ended, or hung up, while a program ran in it.'))
      this.#running.clear()
      closed.resolve()
    })
  }

  /** Opens a session over the port that answers first; throws when none does in time. */
  static async open(
    socketPaths: readonly string[],
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<AgentSession> {
    const deadline = performance.now() + options.timeoutMs
    while (performance.now() < deadline) {
      options.signal?.throwIfAborted()
      const socket = await greetAny(socketPaths)
      if (socket !== undefined) return new AgentSession(socket)
      await pause(tryAgainMs)
    }
    throw new Error(`The agent in the lab did not answer within ${options.timeoutMs / 1000} s.`)
  }

  /** Runs a program to its end. */
  async run(program: LabProgram): Promise<LabExit> {
    const id = ++this.#lastId
    const { promise, resolve, reject } = Promise.withResolvers<LabExit>()
    this.#running.set(id, { program, end: resolve, fail: reject })
    const env = { ...labEnvironment, ...program.env }
    this.#send({ op: 'run', id, argv: program.argv, cwd: program.cwd ?? '/', env })
    const feed = (chunk: Buffer) => this.#send({ op: 'in', id, bytes: chunk.toString('base64') })
    const finish = () => this.#send({ op: 'in', id })
    program.stdin?.on('data', feed).on('end', finish)
    if (program.stdin === undefined) finish()
    try {
      return await promise
    } finally {
      program.stdin?.off('data', feed).off('end', finish)
    }
  }

  /** What a short shell command line printed; throws with what it said when it does not end with 0. A lab that stands still is hung up. */
  async shell(command: string): Promise<string> {
    const printed: Buffer[] = []
    const timer = setTimeout(() => this.close(), shellTimeoutMs)
    const { code, signal } = await this.run({
      argv: ['/bin/sh', '-c', command],
      onOutput: (bytes) => printed.push(bytes),
    }).finally(() => clearTimeout(timer))
    const text = Buffer.concat(printed).toString('utf8')
    if (code !== 0) throw new Error(`In the lab, ${command} ended with ${code ?? signal}: ${text.trim()}`)
    return text
  }

  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #send(request: Request): void {
    this.#socket.write(`${JSON.stringify(request)}\n`)
  }

  #take(chunk: Buffer): void {
    const lines = (this.#text + chunk.toString('latin1')).split('\n')
    this.#text = lines.pop() ?? ''
    for (const line of lines) this.#handle(JSON.parse(line) as Reply) // Our own agent's words, whole since its hello.
  }

  #handle(reply: Reply): void {
    if (reply.op === 'hello') return
    const running = this.#running.get(reply.id)
    if (running === undefined) return
    if (reply.op === 'out') {
      const bytes = Buffer.from(reply.bytes, 'base64')
      const stream = reply.fd === 1 ? running.program.stdout : running.program.stderr
      running.program.onOutput?.(bytes, reply.fd)
      if (stream?.write(bytes) === false) {
        this.#socket.pause()
        stream.once('drain', () => this.#socket.resume())
      }
      return
    }
    this.#running.delete(reply.id)
    if (reply.error === undefined) running.end({ code: reply.code, signal: reply.signal })
    else running.fail(new Error(`In the lab, ${running.program.argv[0]} does not start: ${reply.error}`))
  }
}

/** Says hello to all ports, and gives the connection to the first that answers. */
async function greetAny(paths: readonly string[]): Promise<Socket | undefined> {
  const found = new AbortController()
  let first: Socket | undefined
  const greetings = paths.map(async (path) => {
    const socket = await greet(path, found.signal)
    if (first !== undefined) return socket?.destroy()
    first = socket
    if (socket !== undefined) found.abort()
  })
  await Promise.all(greetings)
  return first
}

/** Connects and says hello; gives the connection when the answer is to this very hello. What came before it is of an earlier session. */
async function greet(path: string, given: AbortSignal): Promise<Socket | undefined> {
  const session = randomUUID()
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = createConnection(path)
  let text = ''
  const read = (chunk: Buffer) => {
    text += chunk.toString('latin1')
    if (text.includes(session) && text.endsWith('\n')) resolve(true)
  }
  const giveUp = () => resolve(false)
  socket.on('error', giveUp).on('close', giveUp).on('data', read)
  socket.on('connect', () => {
    const hello: Request = { op: 'hello', session }
    socket.write(`\n${JSON.stringify(hello)}\n`)
  })
  given.addEventListener('abort', giveUp, { once: true })
  const timer = setTimeout(giveUp, helloMs)
  const isAnswered = await promise
  clearTimeout(timer)
  socket.off('error', giveUp).off('close', giveUp).off('data', read)
  if (isAnswered) return socket
  socket.on('error', () => {})
  socket.destroy()
  return undefined
}
