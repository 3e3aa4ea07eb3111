import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CloneSight, type CloneStep, cloneStep } from './clone-step.ts'

const later = { wasKept: false, isFirst: false } as const

test('a clone is made of what is kept, and of what the origin holds now where nothing is', () => {
  assert.equal(cloneStep({ wasKept: true, isKept: true, copy: 'none', isFirst: true }), 'clone')
  assert.equal(cloneStep({ wasKept: false, isKept: false, copy: 'none', isFirst: true }), 'keep-and-clone')
})

test('what an attempt did after all is found, and only finished', () => {
  for (const isFirst of [true, false])
    assert.equal(cloneStep({ wasKept: true, isKept: true, copy: 'whole', isFirst }), 'let-go')
  assert.equal(cloneStep({ ...later, isKept: true, copy: 'whole' }), 'let-go')
  assert.equal(cloneStep({ ...later, isKept: false, copy: 'whole' }), 'let-go')
  assert.equal(cloneStep({ ...later, isKept: true, copy: 'none' }), 'clone')
})

test('half of a clone is made anew', () => {
  assert.equal(cloneStep({ wasKept: true, isKept: true, copy: 'partial', isFirst: true }), 'remove-and-clone')
  assert.equal(cloneStep({ ...later, isKept: false, copy: 'partial' }), 'remove-keep-and-clone')
})

test('an image that bears the name before anything was done stays as it is', () => {
  for (const copy of ['partial', 'whole'] as const)
    assert.equal(cloneStep({ wasKept: false, isKept: false, copy, isFirst: true }), 'name-taken')
})

test('a moment that was kept is never replaced by a later one', () => {
  const keeping: readonly CloneStep[] = ['keep-and-clone', 'remove-keep-and-clone']
  for (const isKept of [true, false])
    for (const copy of ['none', 'partial', 'whole'] as const) {
      const sight: CloneSight = { wasKept: true, isKept, copy, isFirst: false }
      assert.ok(!keeping.includes(cloneStep(sight)), JSON.stringify(sight))
    }
  assert.equal(cloneStep({ wasKept: true, isKept: false, copy: 'none', isFirst: false }), 'lost')
})
