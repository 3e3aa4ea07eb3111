/**
 * The lab's agent: runs programs for whoever is connected to one of its virtio-serial ports, and hands on what they print.
 *
 * It is laid into the image as JavaScript, without types, so that nothing has to be stripped where that is slow. A port that nobody is
 * connected to reads as its end; it is then asked again a little later.
 *
 * Not here: the messages (messages.ts), the other side (machine/agent-session.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, readdirSync, readFileSync, type WriteStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { uptime } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type { Reply, Request } from './messages.ts'

const ports = '/sys/class/virtio-ports'
const namePrefix = 'kvasir.lab.agent.'
/** Not more often: in an emulated machine each question takes milliseconds of the one CPU that a test may be measuring. */
const askAgainMs = 500
const chunkBytes = 65_536
const longestLine = 8 * 1024 * 1024

/** One port; the kernel lets it be opened once, so reading and writing share the file. */
class Port {
  readonly #file: FileHandle
  readonly #output: WriteStream
  readonly #children = new Map<number, ChildProcess>()
  #text = ''

  constructor(file: FileHandle) {
    this.#file = file
    this.#output = createWriteStream('', { fd: file.fd, autoClose: false })
    this.#output.on('error', () => {}) // Nobody is connected; there is nobody to tell.
  }

  /** Reads for as long as the lab runs. */
  async serve(): Promise<void> {
    const buffer = Buffer.alloc(chunkBytes)
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, chunkBytes, null)
      if (bytesRead > 0) {
        this.#take(buffer.toString('latin1', 0, bytesRead))
        continue
      }
      this.#endAll() // Whoever was connected is not any more.
      await pause(askAgainMs)
    }
  }

  #take(text: string): void {
    const lines = (this.#text + text).split('\n')
    this.#text = lines.pop()?.slice(-longestLine) ?? ''
    for (const line of lines) {
      const request = parse(line)
      if (request !== undefined) this.#handle(request)
    }
  }

  #handle(request: Request): void {
    switch (request.op) {
      case 'hello':
        this.#endAll()
        this.#send({ op: 'hello', session: request.session, uptimeSeconds: uptime() })
        return
      case 'run':
        this.#run(request)
        return
      case 'in': {
        const stdin = this.#children.get(request.id)?.stdin
        if (request.bytes === undefined) stdin?.end()
        else stdin?.write(Buffer.from(request.bytes, 'base64'))
        return
      }
      case 'signal': {
        const child = this.#children.get(request.id)
        if (child !== undefined) kill(child, request.signal)
      }
    }
  }

  #endAll(): void {
    for (const child of this.#children.values()) kill(child, 'SIGKILL')
    this.#children.clear()
  }

  #run({ id, argv: [program, ...args], cwd, env }: Request & { op: 'run' }): void {
    const child = spawn(program, args, { cwd, env, stdio: 'pipe', detached: true })
    this.#children.set(id, child)
    const end = (reply: Omit<Reply & { op: 'exit' }, 'op' | 'id'>) => {
      if (this.#children.get(id) !== child) return // Of a session that is over.
      this.#children.delete(id)
      this.#send({ op: 'exit', id, ...reply })
    }
    child.stdin.on('error', () => {}) // It may end without reading.
    for (const [fd, stream] of [
      [1, child.stdout],
      [2, child.stderr],
    ] as const) {
      stream.on('data', (chunk: Buffer) => {
        if (this.#children.get(id) !== child) return
        if (this.#send({ op: 'out', id, fd, bytes: chunk.toString('base64') })) return
        stream.pause()
        this.#output.once('drain', () => stream.resume())
      })
    }
    child.on('error', (error) => end({ code: null, signal: null, error: error.message }))
    child.on('close', (code, signal) => end({ code, signal }))
  }

  #send(reply: Reply): boolean {
    return this.#output.write(`${JSON.stringify(reply)}\n`)
  }
}

function parse(line: string): Request | undefined {
  if (line === '') return undefined
  try {
    return JSON.parse(line) as Request // Only the machine around the lab reaches this port.
  } catch {
    return undefined // The rest of a line that an earlier session did not finish.
  }
}

/** The whole group, which each program leads. */
function kill(child: ChildProcess, signal: string): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // It has ended already.
  }
}

const devices = readdirSync(ports)
  .filter((name) => readFileSync(`${ports}/${name}/name`, 'utf8').startsWith(namePrefix))
  .map((name) => `/dev/${name}`)
console.log(`lab: the agent serves ${devices.length} ports after ${uptime()} s`)
await Promise.all(devices.map(async (device) => new Port(await open(device, 'r+')).serve()))
