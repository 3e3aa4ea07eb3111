import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Piece } from '@kvasir/contract/contents'
import { KeptStream } from './kept-stream.ts'

const kib = 1024
const { signal } = new AbortController()
const limits = { milliseconds: 5_000, signal, onSent: () => {} }

async function* chunks(...sizes: readonly (readonly [bytes: number, of: number])[]) {
  for (const [bytes, of] of sizes) yield new Uint8Array(bytes).fill(of)
}

async function had(pieces: AsyncIterable<Piece>): Promise<string[]> {
  const found: string[] = []
  for await (const piece of pieces)
    found.push(
      piece.kind === 'zeros' ? `zeros ${piece.lengthBytes}` : `${piece.bytes[0]} ${piece.bytes.length}`,
    )
  return found
}

test('a stream in odd chunks becomes pieces without its zeros, and zeros up to the size', async () => {
  const stream = new KeptStream(
    chunks([60 * kib, 1], [10, 1], [200 * kib, 0], [3 * kib, 2], [0, 0]),
    1024 * kib,
  )

  assert.deepEqual([...(await stream.begin(4, signal))], [1, 1, 1, 1])
  const pieces = await had(stream.pieces(0, limits))

  assert.deepEqual(pieces, [
    `1 ${64 * kib}`,
    `zeros ${192 * kib}`,
    `0 ${7 * kib + 10}`,
    `zeros ${761 * kib - 10}`,
  ])
  assert.ok(stream.isWhole(1024 * kib) && !stream.isBeyond)
  assert.equal(stream.readBytes, 263 * kib + 10)
})

test('what was not released is had again from any position of it, before what comes next', async () => {
  const stream = new KeptStream(chunks([128 * kib, 1], [128 * kib, 2]), 256 * kib)
  const broken = stream.pieces(0, limits)
  await broken.next()
  await broken.return(undefined)

  stream.release(32 * kib)

  assert.ok(stream.has(32 * kib) && !stream.has(31 * kib))
  assert.deepEqual(await had(stream.pieces(96 * kib, limits)), [`1 ${32 * kib}`, `2 ${128 * kib}`])
  stream.release(256 * kib)
  assert.deepEqual(await had(stream.pieces(256 * kib, limits)), [])
  assert.ok(stream.isWhole(256 * kib))
})

test('no more than 64 MiB is kept of a stream that gives more', async () => {
  const mib = 1024 * kib
  const stream = new KeptStream(chunks(...Array.from({ length: 80 }, () => [mib, 7] as const)), 100 * mib)

  const first = (await had(stream.pieces(0, limits))).length
  stream.release(first * mib)
  const second = await had(stream.pieces(first * mib, limits))

  assert.equal(first, 64)
  assert.deepEqual([second.length, second.at(-1)], [17, `zeros ${20 * mib}`])
})

test('a part ends when nothing comes, and the next one waits for what does', async () => {
  async function* slow() {
    yield new Uint8Array(64 * kib).fill(1)
    await sleep(100)
    yield new Uint8Array(64 * kib).fill(2)
  }
  const stream = new KeptStream(slow(), 128 * kib)

  assert.deepEqual(await had(stream.pieces(0, { ...limits, milliseconds: 20 })), [`1 ${64 * kib}`])
  stream.release(64 * kib)
  await stream.more(signal)

  assert.deepEqual(await had(stream.pieces(64 * kib, limits)), [`2 ${64 * kib}`])
})

test('a part that broke off takes nothing from the one after it', async () => {
  const { promise: comes, resolve } = Promise.withResolvers<void>()
  async function* late() {
    await comes
    yield new Uint8Array(64 * kib).fill(1)
    yield new Uint8Array(64 * kib).fill(2)
  }
  const stream = new KeptStream(late(), 128 * kib)
  const part = new AbortController()
  const lost = stream.pieces(0, { ...limits, signal: part.signal }).next()

  resolve()
  part.abort()
  const found = await had(stream.pieces(0, limits))

  await lost.catch(() => {})
  assert.deepEqual(found, [`1 ${64 * kib}`, `2 ${64 * kib}`])
  assert.equal(stream.readBytes, 128 * kib)
})

test('more than the size is not kept, and is told', async () => {
  const stream = new KeptStream(chunks([64 * kib, 1], [64 * kib, 1]), 127 * kib)

  const pieces = await had(stream.pieces(0, limits))

  assert.deepEqual(pieces, [`1 ${64 * kib}`])
  assert.ok(stream.isBeyond && !stream.isWhole(64 * kib))
})
