import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChangedPiece } from '@kvasir/contract'
import { clipPieces } from './clip-pieces.ts'

const pieces: readonly ChangedPiece[] = [
  { kind: 'data', bytes: new Uint8Array([1, 2, 3, 4]) },
  { kind: 'same', lengthBytes: 4 },
  { kind: 'zeros', lengthBytes: 4 },
]

test('a part of a stream begins and ends in the middle of its pieces', async () => {
  const part: ChangedPiece[] = []

  for await (const piece of clipPieces(pieces, { from: 3, to: 9 })) part.push(piece)

  assert.deepEqual(part, [
    { kind: 'data', bytes: new Uint8Array([4]) },
    { kind: 'same', lengthBytes: 4 },
    { kind: 'zeros', lengthBytes: 1 },
  ])
})
