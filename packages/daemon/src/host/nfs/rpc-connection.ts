/**
 * One TCP connection to a program of ONC RPC (RFC 5531), as root of this host (AUTH_SYS) from a port below 1024, as servers ask for of
 * who says that. One call at a time; a server that does not answer costs a socket until the signal says so.
 */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { opaque, word, XdrReader } from '../../model/nfs/xdr.ts'

/** A program's procedure. */
export interface RpcCall {
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly args: readonly Buffer[]
}

/** A server answered, and what it said is not what was asked for. */
export class RpcRefused extends Error {
  override readonly name = 'RpcRefused'
}

const firstPort = 665 // Below are more of those that services have.
const portEnd = 1024
const mostTries = 20
/** A whole directory, or a megabyte that was read, and some. */
const mostAnswerBytes = 4 * 2 ** 20
const lastFragment = 0x80000000
const authSys = 1

export class RpcConnection {
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #number = randomInt(2 ** 31)

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Connects. Throws what the network or the signal says. */
  static async open(
    { address, port }: { readonly address: string; readonly port: number },
    signal: AbortSignal,
  ): Promise<RpcConnection> {
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted()
      const socket = connect({ host: address, port, localPort: randomInt(firstPort, portEnd), signal })
      try {
        await once(socket, 'connect', { signal })
        socket.on('error', () => {}) // Whoever waits for an answer is told by its end.
        return new RpcConnection(socket)
      } catch (error) {
        socket.destroy()
        signal.throwIfAborted()
        if (tries === mostTries || !isTaken(error)) throw error
      }
    }
  }

  /** Makes a call and gives what follows the header of its answer. Throws `RpcRefused`. */
  async call({ program, version, procedure, args }: RpcCall): Promise<XdrReader> {
    this.#number = (this.#number + 1) % 2 ** 31
    const number = this.#number
    const credentials = Buffer.concat([word(0), opaque('kvasir'), word(0), word(0), word(0)])
    const message = Buffer.concat([
      ...[number, 0, 2, program, version, procedure, authSys].map(word),
      opaque(credentials),
      word(0), // No verifier.
      word(0),
      ...args,
    ])
    this.#socket.write(Buffer.concat([word(lastFragment + message.length), message]))
    const answer = new XdrReader(await this.#message())
    if (answer.word() !== number || answer.word() !== 1) throw new RpcRefused('it answered something else')
    if (answer.word() !== 0) throw new RpcRefused('it does not take what this host says that it is')
    answer.word()
    answer.opaque()
    const status = answer.word()
    if (status !== 0) throw new RpcRefused(`it has no program ${program} of version ${version}`)
    return answer
  }

  close(): void {
    this.#socket.destroy()
  }

  async #message(): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let isLast = false; !isLast; ) {
      const head = (await this.#take(4)).readUInt32BE()
      isLast = head >= lastFragment
      const length = head % lastFragment
      if (length > mostAnswerBytes) throw new RpcRefused('it answered more than anything has')
      parts.push(await this.#take(length))
    }
    return Buffer.concat(parts)
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#received.length < length) {
      const chunk: unknown = this.#socket.read()
      if (chunk instanceof Buffer) {
        this.#received = Buffer.concat([this.#received, chunk])
        continue
      }
      if (this.#socket.readableEnded || this.#socket.destroyed) throw this.#lost()
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = () => resolve()
      for (const event of ['readable', 'end', 'close'] as const) this.#socket.once(event, wake)
      await promise
      for (const event of ['readable', 'end', 'close'] as const) this.#socket.off(event, wake)
    }
    const taken = this.#received.subarray(0, length)
    this.#received = this.#received.subarray(length)
    return taken
  }

  #lost(): Error {
    return this.#socket.errored ?? new Error('it ended the connection')
  }
}

/** Another connection of this host has that port. */
function isTaken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL'
}
