import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatCpuList, parseCpuList } from './cpu-list.ts'

test('a list is numbers and ranges, ascending and each once', () => {
  assert.deepEqual(parseCpuList('8,0-3,2'), [0, 1, 2, 3, 8])
  assert.deepEqual(parseCpuList(' 0 , 2-3 '), [0, 2, 3])
})

test('what a caret names is taken away, wherever it stands', () => {
  assert.deepEqual(parseCpuList('0-3,8,^2'), [0, 1, 3, 8])
  assert.deepEqual(parseCpuList('^2,0-3,8'), [0, 1, 3, 8])
  assert.deepEqual(parseCpuList('0-7,^2-5'), [0, 1, 6, 7])
})

test('a list of which all is taken away is empty', () => {
  assert.deepEqual(parseCpuList('0-3,^0-3'), [])
})

test('what is no list is undefined', () => {
  const bad = ['', ' ', ',', 'x', '-', '3-', '-3', '3-1', '1,,2', '^2', '^', '0-^3', '0 1', '1e3', '8192']
  for (const text of [...bad, '99999', '0-99999', '0x3', '٣', Array(2000).fill('1').join(',')])
    assert.equal(parseCpuList(text), undefined, text)
})

const sets = fc.uniqueArray(fc.integer({ min: 0, max: 8191 }), { maxLength: 300 })

test('a set survives being written, and is always written the same', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 8191 }), { minLength: 1 }), (cpus) => {
      const text = formatCpuList(cpus)
      assert.deepEqual(
        parseCpuList(text),
        cpus.toSorted((a, b) => a - b),
      )
      assert.equal(formatCpuList(cpus.toReversed()), text)
    }),
  )
})

test('taking a set away leaves the difference, in any order of the parts', () => {
  fc.assert(
    fc.property(sets, sets, fc.integer(), (named, taken, turn) => {
      fc.pre(named.length > 0)
      const parts = [...named.map(String), ...taken.map((cpu) => `^${cpu}`)]
      const at = Math.abs(turn) % parts.length
      const list = [...parts.slice(at), ...parts.slice(0, at)].join(',')
      const expected = named.filter((cpu) => !taken.includes(cpu)).sort((a, b) => a - b)
      assert.deepEqual(parseCpuList(list), expected)
    }),
  )
})

test('any text is a list or undefined, and never more CPUs than there can be', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      const cpus = parseCpuList(text)
      assert.ok(cpus === undefined || cpus.every((cpu) => Number.isInteger(cpu) && cpu >= 0 && cpu < 8192))
    }),
  )
})

test('a list that names all CPUs over and over costs no more than it is long', () => {
  const list = Array.from({ length: 146 }, () => '0-8191').join(',')
  const before = process.cpuUsage()

  for (let round = 0; round < 100; round++) assert.equal(parseCpuList(list)?.length, 8192)

  // A set of numbers took 2300 ms. CPU time, since others may use the machine too.
  assert.ok(process.cpuUsage(before).user < 1_000_000)
})
