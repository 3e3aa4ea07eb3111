import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { byteSize, formatBytes, parseBytes } from './units.ts'

/** Any letter of Unicode. fast-check's own unit for this builds tables for a second. */
const letter = fc
  .nat(0x10ffff)
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))

test('sizes with units are powers of 1024, however the unit is written', () => {
  for (const text of ['2GiB', '2G', '2g', '2048MiB', '2048 M', ' 2 GB ', '2.0GiB', '2147483648']) {
    assert.equal(parseBytes(text), 2 ** 31, text)
  }
  assert.equal(parseBytes('1.5K'), 1536)
  assert.equal(parseBytes('0'), 0)
})

test('what is no size is none: signs, fractions of a byte, units alone, numbers that a double would round', () => {
  const bad = [
    '',
    '-1',
    '+1',
    '1e9',
    '0x10',
    'GiB',
    '1.5',
    '0.1K',
    '1 2',
    '2XiB',
    '9007199254740992',
    '8P1',
    '99999999P',
    'NaN',
  ]
  for (const text of bad) assert.equal(parseBytes(text), undefined, text)
})

test('the largest size is the largest safe integer', () => {
  assert.equal(parseBytes('9007199254740991'), Number.MAX_SAFE_INTEGER)
  assert.equal(parseBytes('8P'), undefined)
})

test('any safe integer of bytes is read back exactly', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (bytes) => {
      assert.equal(parseBytes(String(bytes)), bytes)
      assert.equal(byteSize.parse(bytes), bytes)
    }),
  )
})

test('whole numbers of a unit survive being written and read', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1023 }), fc.integer({ min: 0, max: 4 }), (count, exponent) => {
      const bytes = count * 1024 ** exponent
      assert.equal(parseBytes(formatBytes(bytes)), bytes)
    }),
  )
})

test('a written size is within one percent of the bytes', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (bytes) => {
      const [number = '', unit = ''] = formatBytes(bytes).split(' ')
      const exponent = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].indexOf(unit)
      assert.ok(Math.abs(Number(number) * 1024 ** exponent - bytes) <= bytes / 100)
    }),
  )
})

test('no text makes the parser throw, and what it accepts is a safe natural number', () => {
  fc.assert(
    fc.property(fc.string({ unit: letter, maxLength: 60 }), (text) => {
      const bytes = parseBytes(text)
      assert.ok(bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0))
    }),
  )
})

test('a request refuses negative, fractional and huge sizes', () => {
  for (const size of [
    -1,
    1.5,
    2 ** 60,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '-1GiB',
    '1'.repeat(41),
    null,
    {},
  ]) {
    assert.equal(byteSize.safeParse(size).success, false, JSON.stringify(size))
  }
})
