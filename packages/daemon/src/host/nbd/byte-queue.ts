/** Bytes of a stream by number: so many at a time, in order, with the stream held back while nobody takes them. */
import type { Readable } from 'node:stream'

/** One reader of one stream. Throws `The connection ended.` when fewer bytes come than are wanted. */
export class ByteQueue {
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer = Buffer.alloc(0)

  constructor(stream: Readable) {
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer> // A stream without an encoding gives buffers.
  }

  /** The next bytes; valid until the next call. */
  async take(lengthBytes: number): Promise<Buffer> {
    if (this.#rest.length < lengthBytes && lengthBytes > 0) {
      const whole = Buffer.allocUnsafe(lengthBytes)
      await this.fill(whole)
      return whole
    }
    const taken = this.#rest.subarray(0, lengthBytes)
    this.#rest = this.#rest.subarray(lengthBytes)
    return taken
  }

  /** Puts the next bytes into a buffer, as many as it holds. */
  async fill(into: Buffer): Promise<void> {
    let filled = 0
    while (filled < into.length) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next()
        if (next.done) throw new Error('The connection ended.')
        this.#rest = next.value
        continue
      }
      const taken = this.#rest.copy(into, filled)
      this.#rest = this.#rest.subarray(taken)
      filled += taken
    }
  }
}
