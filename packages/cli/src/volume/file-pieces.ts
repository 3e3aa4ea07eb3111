/** Files of this machine as pieces of a volume, and pieces as files: holes are not read, and runs of zeros neither sent nor written. */
import type { FileHandle } from 'node:fs/promises'
import type { Piece } from '@kvasir/contract/contents'
import type { Extent } from './file-holes.ts'

const chunkBytes = 2 ** 20
const grainBytes = 64 * 1024

/** When a part of an upload ends although there is more: so that what there is is counted, and no request lasts for ever. */
export interface PartLimits {
  readonly milliseconds: number
  readonly onSent: (offset: number) => void
}

/** The pieces of a file from a position to its end, or until the part has lasted long enough; what lies outside the contents is not read. */
export async function* filePieces(
  file: FileHandle,
  {
    from,
    to,
    contents,
  }: { readonly from: number; readonly to: number; readonly contents: readonly Extent[] },
  { milliseconds, onSent }: PartLimits,
): AsyncGenerator<Piece> {
  const end = performance.now() + milliseconds
  let offset = from
  for (const stretch of contents) {
    const begin = Math.max(offset, Math.min(stretch.from, to))
    if (begin > offset) yield { kind: 'zeros', lengthBytes: begin - offset }
    offset = begin
    for await (const bytes of readAhead(file, { from: offset, to: Math.min(stretch.to, to) })) {
      yield* grains(bytes)
      offset += bytes.length
      onSent(offset)
      if (performance.now() >= end) return
    }
  }
  if (offset < to) yield { kind: 'zeros', lengthBytes: to - offset }
  onSent(to)
}

/** The first pieces, up to so many bytes. */
export async function* firstPieces(pieces: AsyncIterable<Piece>, mostBytes: number): AsyncGenerator<Piece> {
  let left = mostBytes
  for await (const piece of pieces) {
    if (piece.kind === 'zeros' && piece.lengthBytes > left) {
      yield { kind: 'zeros', lengthBytes: left }
      return
    }
    yield piece
    left -= piece.kind === 'zeros' ? piece.lengthBytes : piece.bytes.length
    if (left <= 0) return
  }
}

/** What there is in a file, a chunk while the one before is worked on. */
async function* readAhead(
  file: FileHandle,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<Buffer> {
  let offset = from
  let ahead = readAt(file, offset, to)
  while (offset < to) {
    const bytes = await ahead
    if (bytes.length === 0) throw new Error('The file became shorter while it was uploaded.')
    offset += bytes.length
    ahead = readAt(file, offset, to)
    ahead.catch(() => {}) // Whoever takes it is told.
    yield bytes
  }
}

const zeros = Buffer.alloc(grainBytes)

/** Runs of grains that are zeros, and runs of others. */
export function* grains(bytes: Buffer): Generator<Piece> {
  let begins = 0
  let wereZero: boolean | undefined
  const run = (to: number): Piece =>
    wereZero
      ? { kind: 'zeros', lengthBytes: to - begins }
      : { kind: 'data', bytes: bytes.subarray(begins, to) }
  for (let at = 0; at < bytes.length; at += grainBytes) {
    const grain = bytes.subarray(at, at + grainBytes)
    const isZero = grain.equals(zeros.subarray(0, grain.length))
    if (wereZero !== undefined && isZero !== wereZero) {
      yield run(at)
      begins = at
    }
    wereZero = isZero
  }
  if (wereZero !== undefined) yield run(bytes.length)
}

async function readAt(file: FileHandle, offset: number, to: number): Promise<Buffer> {
  const wanted = Math.min(chunkBytes, to - offset)
  if (wanted <= 0) return Buffer.alloc(0)
  const buffer = Buffer.allocUnsafe(wanted)
  const { bytesRead } = await file.read(buffer, 0, wanted, offset)
  return buffer.subarray(0, bytesRead)
}

/** Puts a piece at a position of a file, which is as long as what was put into it; answers where the next one goes. */
export async function putPiece(file: FileHandle, offset: number, piece: Piece): Promise<number> {
  if (piece.kind === 'zeros') {
    await file.truncate(offset + piece.lengthBytes)
    return offset + piece.lengthBytes
  }
  for (let done = 0; done < piece.bytes.length; ) {
    const { bytesWritten } = await file.write(piece.bytes, done, piece.bytes.length - done, offset + done)
    done += bytesWritten
  }
  return offset + piece.bytes.length
}
