import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import { backingOf, thpNotes } from './backing.ts'

const memory = (input: VmSpecInput['memory'] = {}) => vmSpec.parse({ memory: input }).memory

test('memory that says nothing is private, in pages of the kernel, and may be merged', () => {
  assert.deepEqual(backingOf(memory()), {
    sharing: 'private',
    pages: 'kernel',
    thp: 'default',
    ksm: true,
    preallocated: false,
    locked: false,
    nodes: [],
  })
})

test('reserved pages are taken at the start and never merged', () => {
  const { ksm, pages, pageBytes, preallocated, nodePolicy } = backingOf(
    memory({ pageSize: '2MiB', nodes: [1] }),
  )

  assert.deepEqual([ksm, pages, pageBytes, preallocated], [false, 'reserved', 2 ** 21, true])
  assert.equal(nodePolicy, 'bind')
  assert.equal(backingOf(memory({ sharing: 'shared' })).ksm, false)
})

test('who asks for transparent huge pages is told what the host makes of it', () => {
  const always = memory({ thp: 'always' })

  assert.deepEqual(thpNotes(always, 'always'), [])
  assert.match(thpNotes(always, 'madvise')[0] ?? '', /adds nothing/)
  assert.match(thpNotes(always, 'never')[0] ?? '', /without effect/)
  assert.match(thpNotes(always, 'absent')[0] ?? '', /built without/)
  assert.deepEqual(thpNotes(always, undefined), [])
  assert.deepEqual(thpNotes(memory(), 'never'), [])
  assert.deepEqual(thpNotes(memory({ thp: 'always', sharing: 'shared' }), 'never'), [])
})
