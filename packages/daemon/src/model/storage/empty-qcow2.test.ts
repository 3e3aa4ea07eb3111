import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptyQcow2 } from './empty-qcow2.ts'
import { parseQcow2Header } from './qcow2-header.ts'

const gib = 2 ** 30

function headerOf(made: ReturnType<typeof emptyQcow2>) {
  return parseQcow2Header('made', made.parts[0]?.bytes ?? new Uint8Array())
}

test('an empty file has its capacity, and no base', () => {
  for (const capacityBytes of [512, gib, 513 * 2 ** 20, 2 ** 51])
    assert.deepEqual(headerOf(emptyQcow2({ capacityBytes, base: undefined })), {
      capacityBytes,
      backingFile: undefined,
      isEncrypted: false,
    })
})

test('an overlay names its base', () => {
  const base = { path: '/srv/a name with ünusual letters.raw', format: 'raw' } as const
  assert.deepEqual(headerOf(emptyQcow2({ capacityBytes: gib, base })), {
    capacityBytes: gib,
    backingFile: base.path,
    isEncrypted: false,
  })
  assert.throws(
    () => emptyQcow2({ capacityBytes: gib, base: { ...base, path: `/${'a'.repeat(1023)}` } }),
    RangeError,
  )
})

test('the first-level table has room for what the capacity takes', () => {
  assert.equal(emptyQcow2({ capacityBytes: gib, base: undefined }).fileBytes, 4 * 65536)
  assert.equal(emptyQcow2({ capacityBytes: 2 ** 51, base: undefined }).fileBytes, (3 + 512) * 65536)
})
