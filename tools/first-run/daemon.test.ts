import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sentenceOf } from './daemon.ts'

test('of a line of the log its message and its cause are shown', () => {
  const line = JSON.stringify({
    level: 50,
    msg: 'kvasird does not start',
    err: { message: 'The store is damaged.' },
  })

  assert.equal(sentenceOf(line), 'kvasird does not start: The store is damaged.')
})

test('a line that is no log is shown as it is', () => {
  assert.equal(sentenceOf('Error: Cannot find module'), 'Error: Cannot find module')
  assert.equal(sentenceOf('{"level":30}'), '{"level":30}')
})
