/**
 * A client of NBD, as far as it takes to read and write a volume that `qemu-nbd` serves on a UNIX socket: structured replies and the
 * context `base:allocation`, by which the holes are known without reading them (NetworkBlockDevice/nbd: doc/proto.md).
 *
 * Several requests may be under way; how many, and how large, is the caller's bound. A request that is not answered in time ends the
 * connection, and with it all others. What the server says is checked: it works on what a guest has written.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { ByteQueue } from './byte-queue.ts'
import {
  command,
  handshake,
  infoType,
  option,
  optionReply,
  parseChunkHeader,
  parseExtents,
  parseOptionReply,
  replyType,
  requestBytes,
} from './nbd-words.ts'

/** What a part of a volume is: `isZero` when it reads as zeros, `isHole` when it takes no space. */
export interface NbdExtent {
  readonly lengthBytes: number
  readonly isZero: boolean
  readonly isHole: boolean
}

/** The server did not answer a request in time. */
export class NbdTimeout extends Error {}

/** The server refused a request, with the number of an error as errno(3) has it. */
export class NbdError extends Error {
  readonly errno: number

  constructor(errno: number, what: string) {
    super(what)
    this.errno = errno
  }
}

export interface NbdOptions {
  /** For the handshake. */
  readonly greetMs: number
  /** For each request. */
  readonly timeoutMs: number
}

interface Pending {
  readonly what: string
  /** Where what is read goes. */
  readonly into: Buffer | undefined
  readonly offset: number
  extents: readonly NbdExtent[]
  error: NbdError | undefined
  readonly settle: (error?: Error) => void
}

/** More than any answer of ours can be; a longer one is a broken server. */
const maxPayloadBytes = 64 * 2 ** 20
const exportName = ''

export class NbdClient {
  readonly sizeBytes: number
  readonly #socket: Socket
  readonly #queue: ByteQueue
  readonly #timeoutMs: number
  readonly #pending = new Map<bigint, Pending>()
  #lastCookie = 0n
  #ended: Error | undefined

  private constructor(parts: {
    readonly socket: Socket
    readonly queue: ByteQueue
    readonly sizeBytes: number
    readonly timeoutMs: number
  }) {
    this.#socket = parts.socket
    this.#queue = parts.queue
    this.sizeBytes = parts.sizeBytes
    this.#timeoutMs = parts.timeoutMs
    void this.#receive()
  }

  /** Connects to a socket and negotiates. Throws what connecting throws, `NbdTimeout`, or `NbdError`. */
  static async connect(path: string, { greetMs, timeoutMs }: NbdOptions): Promise<NbdClient> {
    const socket = connect({ path })
    const deadline = setTimeout(() => {
      socket.destroy(new NbdTimeout(`it did not shake hands within ${greetMs / 1000} s`))
    }, greetMs)
    try {
      await once(socket, 'connect')
      const queue = new ByteQueue(socket)
      const sizeBytes = await negotiate(socket, queue)
      return new NbdClient({ socket, queue, sizeBytes, timeoutMs })
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      clearTimeout(deadline)
    }
  }

  /** So many bytes from an offset. */
  async read(offset: number, lengthBytes: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(lengthBytes)
    await this.#request(command.read, { offset, lengthBytes, into, what: 'read' })
    return into
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.#request(command.write, { offset, lengthBytes: data.length, data, what: 'write' })
  }

  /** Makes a part read as zeros, and gives its space back where that goes. */
  async zero(offset: number, lengthBytes: number): Promise<void> {
    await this.#request(command.writeZeroes, { offset, lengthBytes, what: 'zero' })
  }

  async flush(): Promise<void> {
    await this.#request(command.flush, { offset: 0, lengthBytes: 0, what: 'flush' })
  }

  /** What the beginning of a part is, in order; at least one extent, all together no longer than the part. */
  async extents(offset: number, lengthBytes: number): Promise<readonly NbdExtent[]> {
    const { extents } = await this.#request(command.blockStatus, {
      offset,
      lengthBytes,
      what: 'block status',
    })
    let room = lengthBytes
    const within: NbdExtent[] = []
    for (const extent of extents) {
      if (room === 0) break
      const taken = Math.min(room, extent.lengthBytes)
      within.push({ ...extent, lengthBytes: taken })
      room -= taken
    }
    if (within.length === 0) throw new Error('The server told nothing of a part that it was asked about.')
    return within
  }

  /** Says good-bye. What is under way fails. */
  close(): void {
    if (this.#ended === undefined && this.#socket.writable)
      this.#socket.write(requestBytes(command.disconnect, { cookie: 0n, offset: 0, lengthBytes: 0 }))
    this.#socket.end()
    this.#end(new Error('The connection was closed.'))
  }

  async #request(
    type: number,
    given: {
      readonly offset: number
      readonly lengthBytes: number
      readonly what: string
      readonly data?: Uint8Array
      readonly into?: Buffer
    },
  ): Promise<Pending> {
    if (this.#ended) throw this.#ended
    const { offset, lengthBytes, what, data, into } = given
    const cookie = ++this.#lastCookie
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const settle = (error?: Error) => (error ? reject(error) : resolve())
    const pending: Pending = { what, into, offset, extents: [], error: undefined, settle }
    this.#pending.set(cookie, pending)
    const deadline = setTimeout(() => {
      this.#end(new NbdTimeout(`it did not answer within ${this.#timeoutMs / 1000} s (${what})`))
      this.#socket.destroy()
    }, this.#timeoutMs)
    this.#socket.cork()
    this.#socket.write(requestBytes(type, { cookie, offset, lengthBytes }))
    if (data) this.#socket.write(data)
    this.#socket.uncork()
    try {
      await promise
      return pending
    } finally {
      clearTimeout(deadline)
      this.#pending.delete(cookie)
    }
  }

  async #receive(): Promise<void> {
    try {
      while (this.#ended === undefined) await this.#receiveOne()
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)))
      this.#socket.destroy()
    }
  }

  async #receiveOne(): Promise<void> {
    const header = parseChunkHeader(await this.#queue.take(4), await this.#queue.take(12))
    const pending = this.#pending.get(header.cookie)
    if (!pending) throw new Error('The server answered what it was not asked.')
    if (header.kind === 'simple') {
      if (header.errno !== 0) pending.error = refusal(header.errno, pending.what)
      pending.settle(pending.error)
      return
    }
    const lengthBytes = (await this.#queue.take(4)).readUInt32BE()
    if (lengthBytes > maxPayloadBytes) throw new Error(`The server sent an answer of ${lengthBytes} bytes.`)
    await this.#receivePayload(header.type, lengthBytes, pending)
    if (header.isLast) pending.settle(pending.error)
  }

  async #receivePayload(type: number, lengthBytes: number, pending: Pending): Promise<void> {
    switch (type) {
      case replyType.none:
        await this.#queue.take(lengthBytes)
        return
      case replyType.data:
      case replyType.hole:
        await this.#receiveContents(type, lengthBytes, pending)
        return
      case replyType.blockStatus:
        pending.extents = parseExtents(await this.#queue.take(lengthBytes))
        return
      default: {
        const payload = await this.#queue.take(lengthBytes)
        pending.error = refusal(lengthBytes >= 4 ? payload.readUInt32BE() : 5, pending.what)
      }
    }
  }

  async #receiveContents(type: number, lengthBytes: number, { into, offset }: Pending): Promise<void> {
    const at = Number((await this.#queue.take(8)).readBigUInt64BE()) - offset
    const isHole = type === replyType.hole
    const size = isHole ? (await this.#queue.take(4)).readUInt32BE() : lengthBytes - 8
    if (into === undefined || at < 0 || size < 0 || at + size > into.length)
      throw new Error('The server sent what lies outside of what was asked for.')
    if (isHole) into.fill(0, at, at + size)
    else await this.#queue.fill(into.subarray(at, at + size))
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const pending of this.#pending.values()) pending.settle(error)
    this.#pending.clear()
  }
}

async function negotiate(socket: Socket, queue: ByteQueue): Promise<number> {
  const greeting = await queue.take(18)
  socket.write(handshake.answer(greeting))
  const ask = async (number: number, data: Buffer): Promise<readonly Buffer[]> => {
    socket.write(handshake.option(number, data))
    const told: Buffer[] = []
    while (true) {
      const { type, lengthBytes } = parseOptionReply(await queue.take(20), number)
      if (lengthBytes > maxPayloadBytes) throw new Error('The server sent a greeting that is too long.')
      const payload = await queue.take(lengthBytes)
      if (type === optionReply.ack) return told
      if (type >= optionReply.error) throw refusal(22, `option ${number}`)
      told.push(Buffer.from(payload))
    }
  }
  await ask(option.structuredReply, Buffer.alloc(0))
  await ask(option.setMetaContext, handshake.metaContext(exportName))
  const told = await ask(option.go, handshake.go(exportName))
  const info = told.find((one) => one.length >= 12 && one.readUInt16BE() === infoType.export)
  if (!info) throw new Error('The server did not say how large what it serves is.')
  return Number(info.readBigUInt64BE(2))
}

function refusal(errno: number, what: string): NbdError {
  return new NbdError(errno, `it refused to ${what} with the error ${errno}`)
}
