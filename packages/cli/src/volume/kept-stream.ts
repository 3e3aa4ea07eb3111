/**
 * Bytes of a stream that is read once and whose length nobody knows, as pieces of a volume, in parts. Of each part so much is kept that
 * it can be sent again until it is on the daemon's disk, and no more: that bounds what this takes of memory.
 */
import type { Piece } from '@kvasir/contract/contents'
import { grains } from './file-pieces.ts'

/** So much of data is kept at one time; runs of zeros take nothing. */
const mostKeptBytes = 64 * 2 ** 20
const mostKeptPieces = 4096
/** What is read is cut where runs of zeros are looked for. */
const grainBytes = 64 * 1024

/** When a part ends although there is more. */
interface PartLimits {
  readonly milliseconds: number
  readonly signal: AbortSignal
  readonly onSent: (offset: number) => void
}

/** A stream that becomes a volume of a size. */
export class KeptStream {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #sizeBytes: number
  #kept: Piece[] = []
  /** Where what is kept begins, and ends. */
  #from = 0
  #to = 0
  #keptBytes = 0
  /** Read, and not yet a piece. */
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  #underWay: Promise<IteratorResult<Uint8Array>> | undefined
  #end: 'over' | 'beyond' | undefined
  #readBytes = 0

  constructor(stream: AsyncIterable<Uint8Array>, sizeBytes: number) {
    this.#chunks = stream[Symbol.asyncIterator]()
    this.#sizeBytes = sizeBytes
  }

  /** How much came. */
  get readBytes(): number {
    return this.#readBytes
  }

  /** More came than the size; what is beyond it is not kept. */
  get isBeyond(): boolean {
    return this.#end === 'beyond'
  }

  /** The stream has ended, and its pieces, zeros up to the size the last of them, were had up to its end. */
  isWhole(offset: number): boolean {
    return this.#end === 'over' && offset === this.#to
  }

  /** Waits until there is something; its first bytes, as many as are asked for where there are so many. */
  async begin(lengthBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    while (this.#gatheredBytes < lengthBytes && (await this.#gather({ until: Infinity, signal })));
    return Buffer.concat(this.#gathered).subarray(0, lengthBytes)
  }

  /** Waits for something that comes behind what is kept, or for the end. */
  async more(signal: AbortSignal): Promise<void> {
    if (this.#kept.length === 0 && this.#end === undefined && this.#gatheredBytes < grainBytes)
      await this.#gather({ until: Infinity, signal })
  }

  /** What was kept of a position on, and what comes, until the part has lasted long enough or no more is to be kept. */
  async *pieces(from: number, { milliseconds, signal, onSent }: PartLimits): AsyncGenerator<Piece> {
    const until = performance.now() + milliseconds
    let at = this.#from
    for (let index = 0; ; index++) {
      signal.throwIfAborted()
      if (index === this.#kept.length && !(await this.#keepMore({ until, signal }))) return
      const piece = this.#kept[index]
      if (piece === undefined) return
      const end = at + lengthOf(piece)
      if (end > from) yield behind(piece, Math.max(0, from - at))
      at = end
      onSent(at)
    }
  }

  /** Forgets what lies before a position: it is on the disk. */
  release(offset: number): void {
    while (this.#from < offset) {
      const [piece] = this.#kept
      if (piece === undefined) return
      const goneBytes = Math.min(lengthOf(piece), offset - this.#from)
      if (goneBytes === lengthOf(piece)) this.#kept.shift()
      else this.#kept[0] = behind(piece, goneBytes)
      if (piece.kind === 'data') this.#keptBytes -= goneBytes
      this.#from += goneBytes
    }
  }

  /** Whether a position is one from which what is kept can be sent again. */
  has(offset: number): boolean {
    return offset >= this.#from && offset <= this.#to
  }

  /** Keeps pieces of what comes; false when there are none now. */
  async #keepMore(wait: { readonly until: number; readonly signal: AbortSignal }): Promise<boolean> {
    if (this.#keptBytes >= mostKeptBytes || this.#kept.length >= mostKeptPieces) return false
    while (this.#end === undefined && this.#gatheredBytes < grainBytes) {
      if (performance.now() >= wait.until) return false
      if (!(await this.#gather(wait)) && this.#end === undefined) return false
    }
    const before = this.#kept.length
    const gathered = Buffer.concat(this.#gathered)
    const isLast = this.#end === 'over'
    const bytes = isLast ? gathered : gathered.subarray(0, gathered.length - (gathered.length % grainBytes))
    this.#gathered = bytes.length < gathered.length ? [gathered.subarray(bytes.length)] : []
    this.#gatheredBytes = gathered.length - bytes.length
    for (const piece of grains(bytes)) this.#keep(piece)
    if (isLast && this.#to < this.#sizeBytes)
      this.#keep({ kind: 'zeros', lengthBytes: this.#sizeBytes - this.#to })
    return this.#kept.length > before
  }

  #keep(piece: Piece): void {
    this.#kept.push(piece)
    this.#to += lengthOf(piece)
    if (piece.kind === 'data') this.#keptBytes += piece.bytes.length
  }

  /** Takes the next bytes; false where the stream has ended, or none came in time. */
  async #gather({
    until,
    signal,
  }: {
    readonly until: number
    readonly signal: AbortSignal
  }): Promise<boolean> {
    if (this.#end !== undefined) return false
    this.#underWay ??= this.#chunks.next()
    const underWay = this.#underWay
    const next = await inTime(underWay, until - performance.now(), signal)
    if (next === undefined) return false
    if (this.#underWay !== underWay) return true // A part that broke off was waiting for it as well, and has it.
    this.#underWay = undefined
    if (next.done) {
      this.#end = 'over'
      return false
    }
    this.#readBytes += next.value.length
    if (this.#readBytes > this.#sizeBytes) {
      this.#end = 'beyond'
      return false
    }
    this.#gathered.push(next.value)
    this.#gatheredBytes += next.value.length
    return true
  }
}

/** What a promise becomes, or undefined when it takes too long; it may be waited for again. */
async function inTime<T>(
  promise: Promise<T>,
  milliseconds: number,
  signal: AbortSignal,
): Promise<T | undefined> {
  signal.throwIfAborted()
  const { promise: over, resolve, reject } = Promise.withResolvers<undefined>()
  const abort = () => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  const timer = Number.isFinite(milliseconds) ? setTimeout(() => resolve(undefined), milliseconds) : undefined
  try {
    return await Promise.race([promise, over])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}

function lengthOf(piece: Piece): number {
  return piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes
}

function behind(piece: Piece, bytes: number): Piece {
  if (bytes === 0) return piece
  return piece.kind === 'data'
    ? { kind: 'data', bytes: piece.bytes.subarray(bytes) }
    : { kind: 'zeros', lengthBytes: piece.lengthBytes - bytes }
}
