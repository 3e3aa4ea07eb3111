import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { QmpProtocolError } from './errors.ts'
import { isNestedDeeperThan, parseJsonLine } from './json-line.ts'

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

test('The depth counted on the text is the depth of the value', () => {
  const runs = { seed: 20_261_121, numRuns: 500 }
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), fc.integer({ min: 0, max: 8 }), (text, maxDepth) => {
      const isDeeper = depthOf(JSON.parse(text)) > maxDepth
      assert.equal(isNestedDeeperThan(Buffer.from(text), maxDepth), isDeeper)
    }),
    runs,
  )
})

test('Brackets inside strings do not count, escaped quotes do not end a string', () => {
  const line = Buffer.from(JSON.stringify({ text: `${'['.repeat(1000)}"\\"${'{'.repeat(1000)}\\` }))

  assert.equal(isNestedDeeperThan(line, 1), false)
  assert.equal(parseJsonLine(line, 1)['text'], `${'['.repeat(1000)}"\\"${'{'.repeat(1000)}\\`)
})

test('Five million nested arrays are refused without being parsed', () => {
  const line = Buffer.from(`{"return":${'['.repeat(5_000_000)}`)
  const startedAt = performance.now()

  assert.throws(() => parseJsonLine(line, 64), /nested deeper than 64 levels/)
  assert.ok(performance.now() - startedAt < 2_000)
})

test('A depth of 64 is read and one of 65 is not', () => {
  const nested = (depth: number): Buffer =>
    Buffer.from(`{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`)

  assert.ok(parseJsonLine(nested(64), 64))
  assert.throws(() => parseJsonLine(nested(65), 64), QmpProtocolError)
})

test('What is no JSON object is a protocol error that shows its beginning only', () => {
  for (const text of ['', 'garbage', '[]', 'null', '"x"', '7', '{"a":1} {"b":2}', '{']) {
    assert.throws(() => parseJsonLine(Buffer.from(text), 64), QmpProtocolError)
  }
  assert.throws(
    () => parseJsonLine(Buffer.from('z'.repeat(1000)), 64),
    (error: Error) => error.message.length < 200,
  )
})

test('A key named __proto__ changes no prototype', () => {
  const value = parseJsonLine(Buffer.from('{"__proto__":{"event":"STOP"}}'), 64)

  assert.equal('event' in value, false)
})
