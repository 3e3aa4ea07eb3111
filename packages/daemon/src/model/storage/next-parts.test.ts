import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextParts } from './next-parts.ts'

const data = (lengthBytes: number) => ({ lengthBytes, isZero: false })
const hole = (lengthBytes: number) => ({ lengthBytes, isZero: true })

test('a step has what there is up to its bytes, and goes over holes', () => {
  const step = nextParts([hole(10), data(4), hole(2), data(9), data(1)], { offset: 100, mostBytes: 8 })

  assert.deepEqual(step, {
    parts: [
      { offset: 110, lengthBytes: 4 },
      { offset: 116, lengthBytes: 4 },
    ],
    lengthBytes: 20,
    left: [data(5), data(1)],
  })
})

test('steps one after another copy all that is there once, in few parts each', () => {
  const extents = Array.from({ length: 1000 }, (_, at) => (at % 3 === 0 ? hole(7) : data(1 + (at % 40))))
  const copied: (readonly [number, number])[] = []
  let offset = 0
  for (let left: typeof extents = extents; left.length > 0; ) {
    const step = nextParts(left, { offset, mostBytes: 500 })
    assert.ok(step.lengthBytes > 0 && step.parts.length <= 128)
    copied.push(...step.parts.map((part) => [part.offset, part.lengthBytes] as const))
    offset += step.lengthBytes
    left = [...step.left]
  }

  let at = 0
  const bytes = new Set<number>()
  for (const { lengthBytes, isZero } of extents) {
    if (!isZero) for (let byte = at; byte < at + lengthBytes; byte++) bytes.add(byte)
    at += lengthBytes
  }
  const seen = copied.flatMap(([from, length]) => Array.from({ length }, (_, index) => from + index))
  assert.equal(offset, at)
  assert.deepEqual(seen, [...bytes])
})
