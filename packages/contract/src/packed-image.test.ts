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

test('a VHD of fixed size is told by its footer, and by nothing else', () => {
  const zeros = new Uint8Array(packedImageBytes)
  const footer = beginning(0, 'conectix')

  assert.equal(packedImageOf(zeros, footer)?.what, 'a VHD image of fixed size')
  assert.equal(packedImageOf(zeros, Buffer.concat([zeros, footer]))?.what, 'a VHD image of fixed size')
  assert.equal(packedImageOf(beginning(0, 'KDMV'), footer)?.what, 'a VMDK image')
  for (const end of [zeros, new Uint8Array(), footer.subarray(0, 100), beginning(1, 'conectix')])
    assert.equal(packedImageOf(zeros, end), undefined)
})

test('what may be contents is not told of: zeros, boot sectors, a few bytes', () => {
  const boot = beginning(510, '\x55\xaa')

  assert.deepEqual(
    [new Uint8Array(packedImageBytes), boot, new Uint8Array(2)].map((bytes) => packedImageOf(bytes)),
    [undefined, undefined, undefined],
  )
})
