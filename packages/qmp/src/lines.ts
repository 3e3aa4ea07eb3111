/**
 * Cuts a byte stream into lines, in bounded memory.
 *
 * Invariant: at most `maxLineBytes` of an unfinished line are kept, in one buffer, however small the
 * pieces in which they arrive. Lines end with LF; a CR before it is removed, and empty lines are skipped.
 *
 * Not here: what a line means (json-line.ts, client.ts, guest-agent.ts).
 */
import { QmpProtocolError } from './errors.ts'

const lineFeed = 0x0a
const carriageReturn = 0x0d
/** An accumulation buffer above this size is given back after its line, so that one large reply is not kept for good. */
const keptCapacityBytes = 64 * 1024

/** Collects chunks and hands out whole lines; one per connection. */
export class LineSplitter {
  readonly #maxLineBytes: number
  #partial: Buffer = Buffer.alloc(0)
  #partialLength = 0

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes
  }

  /** The bytes held for a line that has not ended yet. */
  get heldBytes(): number {
    return this.#partialLength
  }

  /** Forgets an unfinished line. */
  clear(): void {
    this.#partial = Buffer.alloc(0)
    this.#partialLength = 0
  }

  /**
   * Yields each line that `chunk` completes, without its line end. A line is valid until the next one
   * is asked for. Throws QmpProtocolError as soon as a line exceeds the bound, finished or not.
   */
  *push(chunk: Buffer): Generator<Buffer, void, undefined> {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(lineFeed, start)
      if (end === -1) break
      const line = this.#complete(chunk.subarray(start, end))
      start = end + 1
      if (line.length > 0) yield line
    }
    if (start < chunk.length) this.#append(chunk.subarray(start))
  }

  #complete(tail: Buffer): Buffer {
    if (this.#partialLength === 0) {
      this.#refuseLongerThanBound(tail.length)
      return withoutCarriageReturn(tail)
    }
    this.#append(tail)
    const line = this.#partial.subarray(0, this.#partialLength)
    if (this.#partial.length > keptCapacityBytes) this.#partial = Buffer.alloc(0)
    this.#partialLength = 0
    return withoutCarriageReturn(line)
  }

  #append(piece: Buffer): void {
    const length = this.#partialLength + piece.length
    this.#refuseLongerThanBound(length)
    if (length > this.#partial.length) {
      const doubled = Math.max(length, this.#partial.length * 2, 1024)
      const grown = Buffer.allocUnsafeSlow(Math.min(doubled, this.#maxLineBytes))
      this.#partial.copy(grown, 0, 0, this.#partialLength)
      this.#partial = grown
    }
    piece.copy(this.#partial, this.#partialLength)
    this.#partialLength = length
  }

  #refuseLongerThanBound(length: number): void {
    if (length <= this.#maxLineBytes) return
    this.clear()
    throw new QmpProtocolError(
      `a line is longer than ${this.#maxLineBytes} bytes, so nothing after it can be read`,
    )
  }
}

function withoutCarriageReturn(line: Buffer): Buffer {
  return line.at(-1) === carriageReturn ? line.subarray(0, -1) : line
}
