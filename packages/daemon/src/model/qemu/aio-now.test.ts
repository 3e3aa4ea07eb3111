import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VolumeSource } from '../storage/volume-source.ts'
import { aioNow } from './aio-now.ts'

const file: VolumeSource = { path: '/srv/a.qcow2', format: 'qcow2' }
const device: VolumeSource = { kind: 'device', path: '/dev/vg0/a', format: 'raw' }
const image: VolumeSource = { kind: 'protocol', driver: 'rbd', format: 'raw', options: {}, reach: [] }

test('a disk that stays where it was carries its requests as it was started', () => {
  const threads = { mode: 'threads', reason: 'a file may grow' } as const
  const native = { mode: 'native', reason: 'a block device does not wait' } as const
  const driver = { mode: 'driver', reason: 'QEMU speaks rbd' } as const

  assert.equal(aioNow(threads, { source: file, layer: undefined }), threads)
  assert.equal(aioNow(native, { source: device, layer: undefined }), native)
  assert.equal(aioNow(driver, { source: image, layer: undefined }), driver)
})

test('a disk that went from a server to a file, or the other way, is not said to be where it was', () => {
  const driver = { mode: 'driver', reason: 'QEMU speaks rbd' } as const
  const native = { mode: 'native', reason: 'a block device does not wait' } as const
  const came = 'its volume came to it while the VM ran'

  assert.deepEqual(aioNow(driver, { source: file, layer: undefined }), { mode: 'threads', reason: came })
  assert.deepEqual(aioNow(native, { source: file, layer: 'io_uring' }), { mode: 'io_uring', reason: came })
  assert.match(aioNow(native, { source: image, layer: undefined }).reason, /speaks rbd/)
})
