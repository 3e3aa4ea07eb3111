import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recognisedBytes, recognisedOn } from './recognised.ts'

function disk(...marks: readonly (readonly [offset: number, bytes: string])[]): Uint8Array {
  const bytes = new Uint8Array(recognisedBytes)
  for (const [offset, mark] of marks) bytes.set(Buffer.from(mark, 'latin1'), offset)
  return bytes
}

test('what lies on a disk is told by its magic numbers, the closer words first', () => {
  const found = [
    disk([510, '\x55\xaa'], [512, 'EFI PART']),
    disk([510, '\x55\xaa']),
    disk([1080, '\x53\xef']),
    disk([65_600, '_BHRfS_M']),
    disk([512, 'LABELONE']),
    disk([0, 'QFI\xfb']),
  ].map(recognisedOn)

  assert.deepEqual(found, [
    'a partition table (GPT)',
    'a partition table or a boot sector',
    'an ext2, ext3 or ext4 file system',
    'a Btrfs file system',
    'a physical volume of LVM',
    'a qcow2 image',
  ])
})

test('zeros, other data, and a disk that ends in the middle of a mark are not recognised', () => {
  assert.equal(recognisedOn(disk()), undefined)
  assert.equal(recognisedOn(disk([0, 'some words'])), undefined)
  assert.equal(recognisedOn(disk([512, 'EFI PART']).subarray(0, 515)), undefined)
  assert.equal(recognisedOn(new Uint8Array(0)), undefined)
})
