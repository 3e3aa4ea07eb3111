import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noticeOf } from './attach.ts'
import { splitAtDetach } from './detach-key.ts'

test('all bytes but Ctrl-] are for the guest, Ctrl-C too', () => {
  const bytes = Buffer.from([
    ...Array(0x1d).keys(),
    ...Array.from({ length: 0xff - 0x1d }, (_, index) => 0x1e + index),
  ])
  const { forGuest, detached } = splitAtDetach(bytes)
  assert.equal(detached, false)
  assert.deepEqual(forGuest, bytes)
})

test('what was typed before Ctrl-] still reaches the guest, what follows does not', () => {
  const { forGuest, detached } = splitAtDetach(Buffer.from('logout\r\x1dls\x1d'))
  assert.equal(detached, true)
  assert.equal(forGuest.toString(), 'logout\r')
})

test('notices are shown; a hello, other kinds and nonsense are not', () => {
  assert.equal(noticeOf('{"kind":"notice","text":"Ann took over."}'), 'Ann took over.')
  for (const text of [
    '{"kind":"hello","mode":"read","scrollbackBytes":1}',
    '{"kind":"notice"}',
    'null',
    '[]',
    '{',
    '',
  ]) {
    assert.equal(noticeOf(text), undefined, text)
  }
})
