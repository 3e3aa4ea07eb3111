/** A part of what is only had from its beginning on. */
import type { ChangedPiece } from '@kvasir/contract'

/** The pieces from one position to before another. */
export async function* clipPieces(
  pieces: AsyncIterable<ChangedPiece> | Iterable<ChangedPiece>,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<ChangedPiece> {
  let at = 0
  for await (const piece of pieces) {
    const lengthBytes = piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes
    const [begin, end] = [Math.max(from - at, 0), Math.min(to - at, lengthBytes)]
    at += lengthBytes
    if (begin < end)
      yield piece.kind === 'data'
        ? { kind: 'data', bytes: piece.bytes.subarray(begin, end) }
        : { kind: piece.kind, lengthBytes: end - begin }
  }
}
