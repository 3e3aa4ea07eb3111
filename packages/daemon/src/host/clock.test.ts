import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClock } from './clock.ts'

test('a sleep ends with the reason of its signal', async () => {
  const clock = createClock()
  const abort = new AbortController()
  const why = new Error('enough')

  const sleep = clock.sleep(60_000, abort.signal)
  abort.abort(why)

  await assert.rejects(sleep, why)
  await assert.rejects(clock.sleep(1, abort.signal), why)
})

test('a sleep lasts as long as it says', async () => {
  const clock = createClock()
  const before = clock.monotonicMs()

  await clock.sleep(20)

  assert.ok(clock.monotonicMs() - before >= 19)
})

test('the time of day is ISO 8601 with a zone', () => {
  assert.match(createClock().now(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
})
