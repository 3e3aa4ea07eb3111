import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterFailedStart, neverStarted } from './failed-start.ts'

const crashed = {
  state: 'crashed',
  reason: 'its emulator was killed',
  since: 'then',
  exit: { log: 'last words' },
} as const

test('a failed start adds to what is known of a VM and takes nothing away', () => {
  assert.deepEqual(afterFailedStart(crashed, 'no memory'), {
    ...crashed,
    reason: 'its emulator was killed; the last start failed: no memory',
  })
})

test('of several failed starts in a row the last is told', () => {
  const once = afterFailedStart(crashed, 'no memory; really')
  const twice = afterFailedStart(once, 'no kernel')

  assert.equal(twice.reason, 'its emulator was killed; the last start failed: no kernel')
})

test('a VM that was never started tells the failure alone', () => {
  const fresh = { state: 'shutoff', reason: neverStarted, since: 'then' } as const

  const once = afterFailedStart(fresh, 'no memory')

  assert.equal(once.reason, 'the last start failed: no memory')
  assert.equal(afterFailedStart(once, 'no kernel').reason, 'the last start failed: no kernel')
})
