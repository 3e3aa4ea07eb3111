/** Values on the wire of ONC RPC: big-endian words of four bytes (RFC 4506). Bytes in, values out; nothing is sent here. */

/** A word. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A number of eight bytes. */
export function long(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

/** Bytes of any length, with their length, padded to whole words. A text is UTF-8. */
export function opaque(value: Buffer | string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([word(bytes.length), bytes, Buffer.alloc(-bytes.length & 3)])
}

/** Reads values one after another. Throws `RangeError` beyond the end. */
export class XdrReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  word(): number {
    this.#at += 4
    return this.#bytes.readUInt32BE(this.#at - 4)
  }

  /** A number of eight bytes; what is larger than JavaScript counts is the largest that it does. */
  long(): number {
    this.#at += 8
    const value = this.#bytes.readBigUInt64BE(this.#at - 8)
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value)
  }

  /** Bytes of a length that is known. */
  fixed(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new RangeError('A message of a server ends too early.')
    const bytes = this.#bytes.subarray(this.#at, end)
    this.#at = end + (-length & 3)
    return bytes
  }

  opaque(): Buffer {
    return this.fixed(this.word())
  }

  /** What is there only where a word before it says so. */
  optional<T>(read: () => T): T | undefined {
    return this.word() === 0 ? undefined : read()
  }
}
