import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Counts, filesToRepeat, noTotals, type Totals, withRepeated } from './run-files.ts'

const one = (failed: number): Counts => ({ ...counts, tests: 4, passed: 4 - failed, failed })
const counts: Counts = { tests: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 }
const repeats = { repeats: true }

function failing(...files: readonly string[]): ReadonlyMap<string, Counts> {
  return new Map(files.map((file) => [file, one(1)]))
}

test('a few files that failed run once more, where the rung allows it', () => {
  assert.deepEqual(filesToRepeat(failing('e2e/suites/a.e2e.ts'), repeats), ['e2e/suites/a.e2e.ts'])
  assert.deepEqual(filesToRepeat(failing('packages/a.test.ts'), {}), [])
  assert.deepEqual(filesToRepeat(failing('a', 'b', 'c', 'd'), repeats), [])
})

test('rounds of kills are not repeated, for a loss is what they look for', () => {
  assert.deepEqual(filesToRepeat(failing('e2e/suites/crash.e2e.ts'), repeats), [])
  assert.deepEqual(
    filesToRepeat(failing('e2e/suites/a.e2e.ts', 'e2e/suites/random-kills.e2e.ts'), repeats),
    [],
  )
})

test('what ran once more counts as it did then', () => {
  const first: Totals = {
    ...noTotals,
    ...counts,
    tests: 10,
    passed: 9,
    failed: 1,
    success: false,
    failedFiles: failing('a'),
  }
  const passed = withRepeated(first, { ...noTotals, ...one(0) })
  assert.deepEqual([passed.tests, passed.passed, passed.failed, passed.success], [10, 10, 0, true])

  const again = withRepeated(first, { ...noTotals, ...one(2), success: false, failedFiles: failing('a') })
  assert.deepEqual([again.tests, again.passed, again.failed, again.success], [10, 8, 2, false])
})
