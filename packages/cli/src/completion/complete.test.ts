import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nouns } from '../nouns.ts'
import { editDistance, suggest } from '../suggest.ts'
import { complete } from './complete.ts'

async function words(...line: string[]): Promise<string[]> {
  const names = async (kind: string) => [`${kind}1`, `${kind}2`]
  return (await complete(line, { names, nouns })).map(({ word }) => word)
}

test('nouns, verbs and verbs of two words are completed step by step', async () => {
  assert.deepEqual(await words('v'), ['vm', 'volume'])
  assert.deepEqual(await words('vm', 'pa'), ['pause'])
  assert.deepEqual(await words('vm', 'di'), ['discard-saved', 'disk'])
  assert.deepEqual(await words('vm', 'disk', ''), [
    'list',
    'add',
    'throttle',
    'move',
    'flatten',
    'speed',
    'remove',
  ])
  assert.equal((await words('')).includes('complete'), false)
})

test('names of the right kind are offered at their place, and only there', async () => {
  assert.deepEqual(await words('vm', 'start', ''), ['vm1', 'vm2'])
  assert.deepEqual(await words('vm', 'start', 'vm1', ''), [])
  assert.deepEqual(await words('vm', 'vn'), ['vnc'])
  assert.deepEqual(await words('vm', 'vnc', ''), ['vm1', 'vm2'])
  assert.deepEqual(await words('vm', 'vnc', 'vm1', '--l'), ['--listen'])
  assert.deepEqual(await words('vm', 'start', '--detach', ''), ['vm1', 'vm2'])
  assert.deepEqual(await words('vm', 'disk', 'list', ''), ['vm1', 'vm2'])
  assert.deepEqual(await words('image', 'show', ''), ['image1', 'image2'])
  assert.deepEqual(await words('vm', 'list', '-o', 'json', ''), [])
})

test('flags are offered after a dash, their values after them', async () => {
  assert.deepEqual(await words('vm', 'start', '--d'), ['--detach'])
  assert.deepEqual(await words('vm', 'start', '--detach', '--de'), [])
  assert.deepEqual(await words('vm', 'list', '-o', ''), ['table', 'json', 'yaml'])
  assert.deepEqual(await words('vm', 'list', '--output=j'), ['--output=json'])
  assert.deepEqual(await words('vm', 'create', 'a', '--image', ''), ['image1', 'image2'])
  assert.deepEqual(await words('completion', ''), ['bash', 'zsh', 'fish'])
})

test('after words that are no command nothing is offered', async () => {
  assert.deepEqual(await words('nonsense', ''), [])
  assert.deepEqual(await words('vm', 'nonsense', ''), [])
  assert.deepEqual(await words('vm', 'disk', 'nonsense', ''), [])
  assert.deepEqual(await words('constructor', '__proto__', ''), [])
})

test('the nearest word is suggested when it is near', () => {
  assert.equal(suggest('strat', ['start', 'shutdown']), 'start')
  assert.equal(suggest('shut', ['start', 'shutdown']), 'shutdown')
  assert.equal(suggest('xyz', ['start', 'shutdown']), undefined)
  assert.equal(editDistance('', 'abc'), 3)
  assert.equal(editDistance('ab', 'ba'), 1)
})
