import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isTooLate } from './suite-times.ts'

const nowMs = 1_000_000_000
const inSeconds = (seconds: number) => ({ KVASIR_LAB_UNTIL: String(nowMs / 1000 + seconds) })

test('a file begins as long as it can end in time, a slow one not as long as others', () => {
  const beginning = [1_500, 500, 400, 100].map((seconds) =>
    ['storage', 'vcpus', 'host'].filter(
      (name) => !isTooLate(`/bundles/${name}.lab.mjs`, inSeconds(seconds), nowMs),
    ),
  )

  assert.deepEqual(beginning, [['storage', 'vcpus', 'host'], ['vcpus', 'host'], ['host'], []])
})

test('every file begins where no end is named', () => {
  assert.equal(isTooLate('/bundles/storage.lab.mjs', {}, nowMs), false)
})
