import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fuzzRuns } from '../../../tools/fuzz-runs.ts'
import { decodePieces, encodePieces, type Piece, plainBytes } from './contents.ts'
import { KvasirError } from './errors.ts'

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

const bytesOf = async (pieces: AsyncIterable<Piece>) => Buffer.concat(await all(plainBytes(pieces)))

const anyPiece: fc.Arbitrary<Piece> = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => ({ kind: 'data' as const, bytes })),
  fc.nat({ max: 60 }).map((lengthBytes) => ({ kind: 'zeros' as const, lengthBytes })),
)

test('pieces travel as frames, however the stream is cut into chunks', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyPiece), fc.integer({ min: 1, max: 50 }), async (pieces, step) => {
      const stream = Buffer.concat(await all(encodePieces(each(pieces))))
      const chunks = Array.from({ length: Math.ceil(stream.length / step) }, (_, index) =>
        stream.subarray(index * step, (index + 1) * step),
      )

      const come = await bytesOf(decodePieces(each(chunks)))

      assert.deepEqual(come, await bytesOf(each(pieces)))
    }),
    { numRuns: fuzzRuns(100) },
  )
})

test('a stream that was cut off anywhere is refused', async () => {
  const pieces: Piece[] = [
    { kind: 'data', bytes: new Uint8Array(20).fill(1) },
    { kind: 'zeros', lengthBytes: 5_000_000_000 },
  ]
  const stream = Buffer.concat(await all(encodePieces(each(pieces))))

  for (let length = 0; length < stream.length; length++)
    await assert.rejects(
      all(decodePieces(each([stream.subarray(0, length)]))),
      KvasirError,
      `${length} bytes`,
    )
  assert.equal((await all(decodePieces(each([stream])))).length, 2)
})

test('frames that nobody sends are refused: other kinds, huge ones, more behind the end', async () => {
  const frame = (kind: number, length: bigint) => {
    const bytes = Buffer.alloc(9)
    bytes.writeUInt8(kind)
    bytes.writeBigUInt64BE(length, 1)
    return bytes
  }
  for (const stream of [
    frame(3, 0n),
    frame(1, 2n ** 40n),
    frame(2, 2n ** 60n),
    Buffer.concat([frame(0, 0n), frame(2, 1n)]),
  ])
    await assert.rejects(all(decodePieces(each([stream]))), { code: 'bad-request' })
})

test('no bytes make the decoder throw anything but a refusal', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 30 })), async (chunks) => {
      await all(decodePieces(each(chunks))).catch((error: unknown) => assert.ok(error instanceof KvasirError))
    }),
    { numRuns: fuzzRuns(100) },
  )
})
