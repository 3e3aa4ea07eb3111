import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packedImageBytes, packedImageOf } from './packed-image.ts'

function beginning(offset: number, magic: string): Uint8Array {
  const bytes = Buffer.alloc(packedImageBytes)
  bytes.write(magic, offset, 'latin1')
  return bytes
}

test('files that hold a disk and are not its contents are told by their first bytes', () => {
  const found = (
    [
      [0, 'QFI\xfb'],
      [0, 'KDMV'],
      [64, '\x7f\x10\xda\xbe'],
      [0, 'vhdxfile'],
      [0, 'conectix'],
      [0, 'LUKS\xba\xbe'],
      [0, '\xfd7zXZ\0'],
    ] as const
  ).map(([offset, magic]) => packedImageOf(beginning(offset, magic))?.what)

  assert.deepEqual(found, [
    'a qcow2 image',
    'a VMDK image',
    'a VDI image',
    'a VHDX image',
    'a VHD image',
    'a LUKS container',
    'xz data',
  ])
})

test('what may be contents is not told of: zeros, boot sectors, a few bytes', () => {
  const boot = beginning(510, '\x55\xaa')

  assert.deepEqual([new Uint8Array(packedImageBytes), boot, new Uint8Array(2)].map(packedImageOf), [
    undefined,
    undefined,
    undefined,
  ])
})
