import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import fc from 'fast-check'
import { parseQcow2Header } from './qcow2-header.ts'

function header(changes: (view: DataView) => void = () => {}): Uint8Array {
  const bytes = new Uint8Array(512)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 0x514649fb)
  view.setUint32(4, 3)
  view.setUint32(20, 16)
  view.setBigUint64(24, 1n << 30n)
  view.setUint32(100, 112)
  changes(view)
  return bytes
}

function refusal(bytes: Uint8Array): string {
  try {
    parseQcow2Header('/v.qcow2', bytes)
    return ''
  } catch (error) {
    assert.ok(error instanceof KvasirError && error.code === 'image-refused')
    return error.message
  }
}

test('a sound header tells capacity and base', () => {
  const name = new TextEncoder().encode('/images/base')
  const bytes = header((view) => {
    view.setBigUint64(8, 200n)
    view.setUint32(16, name.length)
  })
  bytes.set(name, 200)

  assert.deepEqual(parseQcow2Header('/v', bytes), {
    capacityBytes: 2 ** 30,
    backingFile: '/images/base',
    isEncrypted: false,
  })
  assert.deepEqual(parseQcow2Header('/v', header()), {
    capacityBytes: 2 ** 30,
    backingFile: undefined,
    isEncrypted: false,
  })
})

test('a header says whether what is on it is encrypted with LUKS', () => {
  assert.equal(
    parseQcow2Header(
      '/v',
      header((view) => view.setUint32(32, 2)),
    ).isEncrypted,
    true,
  )
})

test('what a header must not have is named', () => {
  assert.match(refusal(new Uint8Array(10)), /not a qcow2 image/)
  assert.match(refusal(header((view) => view.setUint32(4, 9))), /unknown version 9/)
  assert.match(refusal(header((view) => view.setUint32(32, 1))), /encryption that is not known/)
  assert.match(refusal(header((view) => view.setBigUint64(72, 4n))), /data in another file/)
  assert.match(refusal(header((view) => view.setBigUint64(72, 2n))), /corrupt/)
  assert.match(refusal(header((view) => view.setBigUint64(72, 1n << 40n))), /features/)
  assert.match(refusal(header((view) => view.setBigUint64(24, 1n << 63n))), /beyond all bounds/)
  const farName = header((view) => {
    view.setBigUint64(8, 1n << 60n)
    view.setUint32(16, 20)
  })
  assert.match(refusal(farName), /no proper name/)
})

test('no bytes make the parser do anything but answer or refuse', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, keepMagic) => {
      const bytes = keepMagic ? header() : noise
      if (keepMagic) bytes.set(noise.subarray(0, 400), 8)
      refusal(bytes)
    }),
  )
})
