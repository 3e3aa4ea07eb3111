/** How the way of a disk's requests is chosen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseAio } from './aio.ts'

const file = { path: '/a', format: 'raw' } as const
const device = { ...file, kind: 'device' } as const

test('a block device past the page cache gets native AIO, a file threads', () => {
  assert.equal(chooseAio({}, { source: device, direct: true }).mode, 'native')
  assert.equal(chooseAio({}, { source: file, direct: true }).mode, 'threads')
})

test('native AIO is not used where requests go through the page cache, and the reason says so', () => {
  assert.equal(chooseAio({}, { source: device, direct: false }).mode, 'threads')
  const asked = chooseAio({ aio: 'native' }, { source: file, direct: false })
  assert.deepEqual([asked.mode, /native, but .*page cache/.test(asked.reason)], ['threads', true])
})

test('io_uring is used when it is asked for and the host has it', () => {
  const on = { source: file, direct: false }
  assert.equal(chooseAio({ aio: 'io_uring' }, on).mode, 'io_uring')
  const none = chooseAio({ aio: 'io_uring' }, { ...on, noIoUring: 'it is forbidden' })
  assert.deepEqual([none.mode, none.reason], ['threads', 'the spec says io_uring, but it is forbidden'])
})
