import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually } from './eventually.ts'

const patience = { withinMs: 5_000, everyMs: 1, what: 'it is so' }

test('what is not so yet is asked again', async () => {
  for (const notYet of [false, undefined] as const) {
    const answers = [notYet, notYet, true]
    assert.equal(await eventually(async () => answers.shift(), patience), true)
    assert.deepEqual(answers, [])
  }
})

test('an answer that means something is given, though it counts as no', async () => {
  assert.equal(await eventually(async () => 0, patience), 0)
  assert.equal(await eventually(async () => '', patience), '')
})

test('what never becomes so ends the wait by its name', async () => {
  await assert.rejects(
    eventually(async () => false, { ...patience, withinMs: 20 }),
    /^Error: it is so: not within/,
  )
})
