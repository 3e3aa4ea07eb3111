/** The bytes of a connection, as many at a time as a protocol asks for. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { patient } from './patience.ts'

const stepMs = 10_000

export class ByteReader {
  readonly #socket: Socket
  readonly #chunks: Buffer[] = []
  #length = 0

  constructor(socket: Socket) {
    this.#socket = socket
    socket.pause()
  }

  /** The next bytes; fails when the connection ends before them. */
  async take(length: number): Promise<Buffer> {
    while (this.#length < length) {
      const chunk: unknown = this.#socket.read()
      if (Buffer.isBuffer(chunk)) {
        this.#chunks.push(chunk)
        this.#length += chunk.length
      } else {
        assert.ok(!this.#socket.readableEnded, 'The server closed the connection.')
        await once(this.#socket, 'readable', { signal: AbortSignal.timeout(patient(stepMs)) })
      }
    }
    const bytes = Buffer.concat(this.#chunks.splice(0))
    this.#chunks.push(bytes.subarray(length))
    this.#length -= length
    return bytes.subarray(0, length)
  }
}
