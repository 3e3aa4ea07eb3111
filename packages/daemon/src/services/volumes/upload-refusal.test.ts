import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import { asUploadRefusal } from './upload-refusal.ts'

const path = '/var/lib/kvasir/volumes/00000000-0000-4000-8000-000000000001.qcow2'
const source: VolumeSource = { path, format: 'qcow2' }
const saidOf = (error: unknown) => {
  const refusal = asUploadRefusal(error, { words: 'fast/data', source })
  return refusal instanceof KvasirError ? [refusal.message, refusal.details] : refusal
}

test('a refusal of what was uploaded names the volume, and neither a path nor an import', () => {
  const whole = new KvasirError('image-refused', `The file ${path} is empty, so it is not imported.`, {
    details: { path, why: 'is empty' },
  })
  const locked = new KvasirError('in-use', `The file ${path} is locked by qemu-io, so it is not opened.`, {
    details: { path, holders: ['qemu-io'] },
  })
  const full = new KvasirError('not-enough-space', `The disk of ${path} is full, so it was not written on.`)

  assert.deepEqual([whole, locked, full].map(saidOf), [
    ['What was uploaded to volume fast/data is empty, so it does not become a volume.', {}],
    ['The file of volume fast/data is locked by qemu-io, so it is not opened.', { holders: ['qemu-io'] }],
    ['The disk of volume fast/data is full, so it was not written on.', {}],
  ])
})

test('what names no path, and what is no refusal, stays as it is', () => {
  const others = [new KvasirError('cancelled', 'It was cancelled.'), new Error(`ENOENT ${path}`), undefined]

  for (const other of others) assert.equal(asUploadRefusal(other, { words: 'data', source }), other)
})
