import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatMask } from '../testing/machine-files.ts'
import { formatCpuList, parseCpuList, parseCpuMask } from './cpu-list.ts'

test('lists are ranges and numbers, ascending and each once', () => {
  assert.deepEqual(parseCpuList('8,0-3,2\n'), [0, 1, 2, 3, 8])
  assert.deepEqual(parseCpuList('0-9:2/4'), [0, 1, 4, 5, 8, 9])
})

test('a set that was never made is empty', () => {
  for (const text of ['', '\n', '(null)']) assert.deepEqual(parseCpuList(text), [])
})

test('what is no list, or names CPUs that no kernel can have, is undefined', () => {
  const bad = [
    'x',
    '-',
    '3-',
    '3-1',
    '1,,2',
    '0-4294967295',
    '8192',
    '99999999999999',
    '0-3:1/0',
    '-1',
    '1e3',
  ]
  for (const text of [...bad, undefined]) assert.equal(parseCpuList(text), undefined, String(text))
})

test('masks are words of 32 bits, the highest first', () => {
  assert.deepEqual(parseCpuMask('80000000,00000003'), [0, 1, 63])
  assert.deepEqual(parseCpuMask('f'), [0, 1, 2, 3])
  assert.deepEqual(parseCpuMask('00000000'), [])
})

test('what is no mask is undefined, as is one of more CPUs than there can be', () => {
  const long = Array.from({ length: 257 }, () => 'ffffffff').join(',')
  for (const text of ['', 'g', '123456789', '1,,1', long, undefined])
    assert.equal(parseCpuMask(text), undefined)
})

test('a set survives being written as list and as mask', () => {
  const sets = fc.uniqueArray(fc.integer({ min: 0, max: 600 }), { minLength: 1 })
  fc.assert(
    fc.property(sets, (numbers) => {
      const sorted = numbers.toSorted((a, b) => a - b)
      assert.deepEqual(parseCpuList(formatCpuList(numbers)), sorted)
      assert.deepEqual(parseCpuMask(formatMask(numbers)), sorted)
    }),
  )
})
