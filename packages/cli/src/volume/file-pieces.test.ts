/** Files as pieces, and the pieces as a file again: the same bytes, and no more of them than the file has. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Piece } from '@kvasir/contract/contents'
import { findContents } from './file-holes.ts'
import { filePieces, firstPieces, putPiece } from './file-pieces.ts'

const mib = 2 ** 20
const noLimit = { milliseconds: Number.POSITIVE_INFINITY, onSent: () => {} }

test('the contents of a file with holes are found, and only they are read', async (t) => {
  const { file, bytes } = await openSparse(t)
  await using _ = file
  const contents = await findContents(file.fd, bytes.length)
  const read = contents.reduce((sum, { from, to }) => sum + to - from, 0)
  assert.ok(contents.length >= 2 && read < 2 * mib, JSON.stringify(contents))
})

for (const [name, from] of [
  ['its begin', 0],
  ['the middle of a hole', mib + 12_345],
  ['the middle of its contents', 3 * mib + 5_000],
] as const)
  test(`a file with holes goes over from ${name}`, async (t) => {
    const { file, bytes, folder } = await openSparse(t)
    await using _ = file
    const contents = await findContents(file.fd, bytes.length)
    await using copy = await open(join(folder, 'copy'), 'w')
    let offset = from
    for await (const piece of filePieces(file, { from, to: bytes.length, contents }, noLimit))
      offset = await putPiece(copy, offset, piece)
    assert.equal(offset, bytes.length)
    assert.ok((await readFile(join(folder, 'copy'))).subarray(from).equals(bytes.subarray(from)))
  })

test('a part that lasted long enough ends where it says', async (t) => {
  const { file, bytes } = await openSparse(t)
  await using _ = file
  const contents = [{ from: 0, to: bytes.length }]
  const told: number[] = []
  const limits = { milliseconds: 0, onSent: (offset: number) => void told.push(offset) }
  const pieces: Piece[] = []
  for await (const piece of filePieces(file, { from: 0, to: bytes.length, contents }, limits))
    pieces.push(piece)
  const sent = pieces.reduce(
    (sum, piece) => sum + (piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes),
    0,
  )
  assert.deepEqual([told, sent], [[mib], mib])
})

test('a file that becomes shorter is told of', async (t) => {
  const { file, bytes } = await openSparse(t)
  await using _ = file
  const to = bytes.length + mib
  const pieces = filePieces(file, { from: 0, to, contents: [{ from: 0, to }] }, noLimit)
  await assert.rejects(async () => {
    for await (const piece of pieces) assert.ok(piece)
  }, /became shorter/)
})

/** Six MiB, of which parts of the first and of the fourth are contents. */
async function openSparse(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-pieces-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'file')
  const writer = await open(path, 'w')
  await writer.truncate(6 * mib)
  await writer.write(Buffer.alloc(100_000, 'a'), 0, 100_000, 0)
  await writer.write(Buffer.alloc(200_000, 'b'), 0, 200_000, 3 * mib)
  await writer.sync()
  await writer.close()
  return { folder, file: await open(path, 'r'), bytes: await readFile(path) }
}

test('the first pieces end within zeros, and behind the data that goes beyond', async () => {
  async function* all(): AsyncGenerator<Piece> {
    yield { kind: 'data', bytes: new Uint8Array(3) }
    yield { kind: 'zeros', lengthBytes: 10 }
    yield { kind: 'data', bytes: new Uint8Array(3) }
  }
  const lengths = async (mostBytes: number) =>
    (await Array.fromAsync(firstPieces(all(), mostBytes))).map((piece) =>
      piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes,
    )

  assert.deepEqual(await lengths(2), [3])
  assert.deepEqual(await lengths(8), [3, 5])
  assert.deepEqual(await lengths(Number.POSITIVE_INFINITY), [3, 10, 3])
})
