/**
 * The contents of a volume as a stream: bytes, and runs of zeros that need not travel.
 *
 * Two forms on the wire. `application/octet-stream` is the contents as they are. `application/vnd.kvasir.extents` is a row of frames:
 * one byte for the kind (1 data, 2 zeros, 3 as before, 0 the end), eight bytes for the length (big-endian), and for data so many bytes.
 * Only what tells of changes has parts that are as before, and has no plain form. A stream without the frame of its end was cut off. In both, positions (`Range`, `offset`) are those of the volume, not of the stream.
 */
import { KvasirError } from './error-table.ts'

/** A part of a volume, behind the one before it. */
export type Piece =
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'zeros'; readonly lengthBytes: number }

/** A part of what changed since a checkpoint; of what did not, only the length is told. */
export type ChangedPiece = Piece | { readonly kind: 'same'; readonly lengthBytes: number }

/** What a client sends of a volume. */
export type ReceivedContents = AsyncIterable<Piece>

/** A volume that is open to be sent. */
export interface SentContents {
  readonly sizeBytes: number
  /** Changes with the contents; undefined where nobody can tell whether they have. */
  readonly tag: string | undefined
  /** The pieces from one position to before another. Called once. */
  pieces(from: number, to: number): AsyncIterable<ChangedPiece>
  /** It tells of changes alone. */
  readonly isIncrement?: boolean
  /** Lets go of the volume. */
  close(): Promise<void>
}

export const contentsTypes = {
  plain: 'application/octet-stream',
  extents: 'application/vnd.kvasir.extents',
} as const

const kinds = { end: 0, data: 1, zeros: 2, same: 3 } as const
const headerBytes = 9
/** The largest frame of data that is taken. */
const maxDataBytes = 16 * 2 ** 20
const zerosAtOnceBytes = 2 ** 20

/** Pieces as frames. */
export async function* encodePieces(pieces: AsyncIterable<ChangedPiece>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    if (piece.kind !== 'data') yield header(kinds[piece.kind], piece.lengthBytes)
    else if (piece.bytes.length > 0) {
      yield header(kinds.data, piece.bytes.length)
      yield piece.bytes
    }
  }
  yield header(kinds.end, 0)
}

/** Pieces as the bytes that they stand for. */
export async function* plainBytes(pieces: AsyncIterable<ChangedPiece>): AsyncGenerator<Uint8Array> {
  const zeros = new Uint8Array(zerosAtOnceBytes)
  for await (const piece of pieces) {
    if (piece.kind === 'same') throw refuse('tells of changes alone')
    if (piece.kind === 'data') {
      yield piece.bytes
      continue
    }
    for (let left = piece.lengthBytes; left > 0; left -= zerosAtOnceBytes)
      yield zeros.subarray(0, Math.min(left, zerosAtOnceBytes))
  }
}

/** The pieces of a volume as a row of frames; those of a long frame of data as they come. Throws `bad-request` for what is none, or was cut off. */
export async function* decodePieces(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  for await (const piece of decodeChanges(stream)) {
    if (piece.kind === 'same') throw refuse('tells of changes alone')
    yield piece
  }
}

/** As `decodePieces`, for what may tell of changes alone. */
export async function* decodeChanges(stream: AsyncIterable<Uint8Array>): AsyncGenerator<ChangedPiece> {
  let rest: Uint8Array = new Uint8Array(0)
  let dataLeft = 0
  let isOver = false
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : joined(rest, chunk)
    while (rest.length > 0) {
      if (isOver) throw refuse('goes on behind its end')
      if (dataLeft > 0) {
        const bytes = rest.subarray(0, dataLeft)
        yield { kind: 'data', bytes }
        dataLeft -= bytes.length
        rest = rest.subarray(bytes.length)
        continue
      }
      if (rest.length < headerBytes) break
      const { kind, lengthBytes } = parseHeader(rest)
      rest = rest.subarray(headerBytes)
      if (kind === kinds.zeros) yield { kind: 'zeros', lengthBytes }
      else if (kind === kinds.same) yield { kind: 'same', lengthBytes }
      else if (kind === kinds.data) dataLeft = lengthBytes
      else isOver = true
    }
  }
  if (!isOver) throw refuse('was cut off')
}

/** A plain stream as pieces of data. */
export async function* dataPieces(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  for await (const bytes of stream) yield { kind: 'data', bytes }
}

function parseHeader(bytes: Uint8Array): { readonly kind: number; readonly lengthBytes: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
  const kind = view.getUint8(0)
  const length = view.getBigUint64(1)
  if (kind > kinds.same) throw refuse(`has a frame of the unknown kind ${kind}`)
  const most = kind === kinds.data ? maxDataBytes : Number.MAX_SAFE_INTEGER
  if (length > BigInt(most)) throw refuse(`has a frame of ${length} bytes`)
  return { kind, lengthBytes: Number(length) }
}

function header(kind: number, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(headerBytes)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, kind)
  view.setBigUint64(1, BigInt(lengthBytes))
  return bytes
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}

function refuse(what: string): KvasirError {
  return new KvasirError('bad-request', `The stream of contents ${what}, so it was not taken to its end.`)
}
