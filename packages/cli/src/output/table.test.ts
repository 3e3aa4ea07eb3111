import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { progressLine } from './progress-bar.ts'
import { formatProperties, formatTable } from './table.ts'
import { cutTo, printable, widthOf } from './width.ts'

/** Any letter of Unicode. fast-check's own unit for this builds tables for a second. */
const letter = fc
  .nat(0x10ffff)
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))

const plain = { bold: (text: string) => text }

test('columns are as wide as their widest cell, numbers stand to the right, the last column is not padded', () => {
  const text = formatTable(
    [
      { name: 'a', size: 5, why: 'x' },
      { name: 'longer', size: 1000, why: 'because' },
    ],
    [
      { title: 'NAME', show: (row) => row.name },
      { title: 'SIZE', show: (row) => row.size, right: true },
      { title: 'WHY', show: (row) => row.why },
    ],
    plain,
  )
  assert.equal(text, 'NAME    SIZE  WHY\na          5  x\nlonger  1000  because\n')
})

test('wide letters, combined letters and emoji take the columns that a terminal gives them', () => {
  assert.equal(widthOf('abc'), 3)
  assert.equal(widthOf('日本'), 4)
  assert.equal(widthOf('e\u0301'), 1)
  assert.equal(widthOf('👩‍💻'), 2)
  const rows = [
    { name: '日本', on: 'x' },
    { name: 'abcd', on: 'y' },
  ]
  const text = formatTable(
    rows,
    [
      { title: 'N', show: (row) => row.name },
      { title: 'ON', show: (row) => row.on },
    ],
    plain,
  )
  assert.equal(text, 'N     ON\n日本  x\nabcd  y\n')
})

test('on a terminal the last column is cut to fit; what is undefined shows as a dash', () => {
  const text = formatTable(
    [
      { name: 'a', why: 'a very long reason' },
      { name: 'b', why: undefined },
    ],
    [
      { title: 'NAME', show: (row) => row.name },
      { title: 'WHY', show: (row) => row.why },
    ],
    { ...plain, columns: 16 },
  )
  assert.equal(text, 'NAME  WHY\na     a very lo…\nb     -\n')
})

test('what guests say cannot move the cursor, clear the screen or turn the line around', () => {
  const shown = printable('\x1b[2J\x07evil\r\n\u202etxt\u009b')
  assert.doesNotMatch(shown, /[\p{Cc}\p{Bidi_Control}]/u)
  assert.match(shown, /evil/)
  fc.assert(
    fc.property(fc.string({ unit: letter }), (text) => assert.doesNotMatch(printable(text), /\p{Cc}/u)),
  )
})

test('a cut text is never wider than asked', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, columns) => {
      assert.ok(widthOf(cutTo(text, columns)) <= columns)
    }),
  )
})

test('properties leave out what is undefined', () => {
  const text = formatProperties({ Name: 'web1', Job: undefined, vCPUs: 2 }, (name) => name)
  assert.equal(text, 'Name   web1\nvCPUs  2\n')
})

test('a property of several lines has its name once, and one without lines is left out', () => {
  const text = formatProperties({ Disks: ['root', 'data'], NICs: [], CPU: 'max' }, (name) => name)
  assert.equal(text, 'Disks  root\n       data\nCPU    max\n')
})

test('a progress line has a bar when the share is known and fits into the terminal', () => {
  assert.equal(
    progressLine({ state: 'running', step: 'copying', progress: 0.5 }, 80),
    '[############------------]  50 % copying',
  )
  assert.equal(progressLine({ state: 'running', step: 'asking' }, 80), '… asking')
  assert.ok(widthOf(progressLine({ state: 'running', step: 'x'.repeat(500), progress: 2 }, 40)) < 40)
})
