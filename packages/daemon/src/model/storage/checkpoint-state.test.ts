import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bitmapName, judgeCheckpoint } from './checkpoint-state.ts'

const checkpoint = { id: 'c1', name: 'monday', disks: ['a'] }
const bitmap = { disk: 'a', name: bitmapName('c1'), isWhole: true, changedBytes: 65_536 }

test('a checkpoint is usable on a disk whose bitmap has noted everything', () => {
  assert.deepEqual(judgeCheckpoint(checkpoint, 'a', [bitmap]), { kind: 'usable', changedBytes: 65_536 })
})

test('a checkpoint is lost on a disk that has no bitmap of it, one with gaps, or that it is not about', () => {
  const reasonOf = (disk: string, bitmaps: readonly (typeof bitmap)[]) => {
    const state = judgeCheckpoint(checkpoint, disk, bitmaps)
    return state.kind === 'lost' ? state.reason : ''
  }

  assert.match(reasonOf('a', [{ ...bitmap, isWhole: false }]), /ended without writing down/)
  assert.match(reasonOf('a', [{ ...bitmap, disk: 'b' }]), /has lost what it noted/)
  assert.match(reasonOf('a', [{ ...bitmap, name: bitmapName('c2') }]), /has lost what it noted/)
  assert.match(reasonOf('b', [bitmap]), /is not in checkpoint monday/)
})
