/**
 * Contents of volumes as pieces, in bounded memory: some reads or writes are under way at one time, and zeros are neither read nor
 * written where the volume says that they are there.
 */
import { KvasirError, type Piece } from '@kvasir/contract'
import type { Part } from '../../ports/client-files.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'

/** What one read or write moves. */
const stepBytes = 1024 * 1024
/** Reads or writes that are under way at one time. */
const atOnce = 6
/** What one look for zeros covers. */
const lookBytes = 2 ** 30
/** Zeros are found in what is written where they fill so much. */
const grainBytes = 64 * 1024

/** The pieces of a volume from one position to before another. */
export async function* readPieces(open: OpenVolume, from: number, to: number): AsyncGenerator<Piece> {
  const underWay: Promise<Uint8Array>[] = []
  try {
    for await (const part of stepsOf(open, { from, to })) {
      if (!part.isZero) {
        const read = open.read(part.offset, part.lengthBytes)
        read.catch(() => {}) // Whoever takes it below is told.
        underWay.push(read)
        if (underWay.length < atOnce) continue
      }
      while (underWay.length > (part.isZero ? 0 : atOnce - 1)) yield await next(underWay)
      if (part.isZero) yield { kind: 'zeros', lengthBytes: part.lengthBytes }
    }
    while (underWay.length > 0) yield await next(underWay)
  } finally {
    await Promise.allSettled(underWay)
  }
}

async function next(underWay: Promise<Uint8Array>[]): Promise<Piece> {
  const bytes = await underWay.shift()
  return { kind: 'data', bytes: bytes ?? new Uint8Array(0) }
}

async function* stepsOf(
  open: OpenVolume,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<{ readonly offset: number; readonly lengthBytes: number; readonly isZero: boolean }> {
  let offset = from
  while (offset < to)
    for (const { lengthBytes, isZero } of await open.extents(offset, Math.min(lookBytes, to - offset))) {
      const end = offset + lengthBytes
      if (isZero) yield { offset, lengthBytes, isZero }
      else
        for (let at = offset; at < end; at += stepBytes)
          yield { offset: at, lengthBytes: Math.min(stepBytes, end - at), isZero }
      offset = end
    }
}

/** Makes a part read as zeros; what does already is left alone. */
export async function clearPart(open: OpenVolume, { offset, lengthBytes }: Part): Promise<void> {
  const end = offset + lengthBytes
  for (let at = offset; at < end; ) {
    for (const part of await open.extents(at, Math.min(lookBytes, end - at))) {
      if (!part.isZero) await open.zero(at, part.lengthBytes)
      at += part.lengthBytes
    }
  }
}

/** Writes pieces from a position on, and knows up to where all of it has been written. */
export class PieceWriter {
  readonly #open: OpenVolume
  readonly #end: number
  readonly #underWay = new Set<Promise<void>>()
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  #offset: number
  #failure: unknown

  /** `end` is where the volume ends for whoever writes: nothing is taken behind it. */
  constructor(open: OpenVolume, { offset, end }: { readonly offset: number; readonly end: number }) {
    this.#open = open
    this.#offset = offset
    this.#end = end
  }

  /** Takes a piece; waits while enough is under way. */
  async write(piece: Piece): Promise<void> {
    const lengthBytes = piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes
    if (this.#offset + this.#gatheredBytes + lengthBytes > this.#end)
      throw new KvasirError('bad-request', `More was sent than the ${this.#end} bytes that were announced.`)
    if (piece.kind === 'zeros') {
      await this.#send({ isLast: true })
      await this.#clear(lengthBytes)
      return
    }
    // What the stream gave is used again by nobody, but may be a part of a larger buffer: it is copied when it is sent.
    this.#gathered.push(piece.bytes)
    this.#gatheredBytes += lengthBytes
    if (this.#gatheredBytes >= stepBytes) await this.#send({ isLast: false })
  }

  /** Waits for all that was taken to be on the disk; answers up to where. Throws what a write failed with. */
  async settle(): Promise<number> {
    await this.#send({ isLast: true })
    await Promise.allSettled(this.#underWay)
    this.#throwFailure()
    await this.#open.flush()
    return this.#offset
  }

  /** Writes what was gathered; unless it is the last, the beginning of a grain waits for the rest of it. */
  async #send({ isLast }: { readonly isLast: boolean }): Promise<void> {
    const gathered = this.#gathered.length === 1 ? this.#gathered[0] : Buffer.concat(this.#gathered)
    if (gathered === undefined || gathered.length === 0) return
    const keptBytes = isLast ? 0 : (this.#offset + gathered.length) % grainBytes
    const bytes = gathered.subarray(0, gathered.length - keptBytes)
    this.#gathered = keptBytes === 0 ? [] : [gathered.subarray(bytes.length)]
    this.#gatheredBytes = keptBytes
    for (const run of runsOf(bytes, this.#offset))
      if (run.isZero) await this.#clear(run.bytes.length)
      else await this.#begin(this.#open.write(this.#offset, run.bytes), run.bytes.length)
  }

  async #clear(lengthBytes: number): Promise<void> {
    await this.#begin(clearPart(this.#open, { offset: this.#offset, lengthBytes }), lengthBytes)
  }

  async #begin(work: Promise<void>, lengthBytes: number): Promise<void> {
    this.#offset += lengthBytes
    const tracked: Promise<void> = work
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => this.#underWay.delete(tracked))
    this.#underWay.add(tracked)
    if (this.#underWay.size >= atOnce) await Promise.race(this.#underWay)
    this.#throwFailure()
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure
  }
}

/** Runs of whole grains that are zeros, and of others, of bytes that begin at a position. */
function* runsOf(
  bytes: Uint8Array,
  position: number,
): Generator<{ readonly isZero: boolean; readonly bytes: Uint8Array }> {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const zeros = Buffer.alloc(grainBytes)
  let begins = 0
  let wasZero: boolean | undefined
  for (let at = 0; at < all.length; ) {
    const end = Math.min(all.length, at + grainBytes - ((position + at) % grainBytes))
    const isZero = end - at === grainBytes && all.subarray(at, end).equals(zeros)
    if (wasZero !== undefined && isZero !== wasZero) {
      yield { isZero: wasZero, bytes: all.subarray(begins, at) }
      begins = at
    }
    wasZero = isZero
    at = end
  }
  if (wasZero !== undefined) yield { isZero: wasZero, bytes: all.subarray(begins) }
}
