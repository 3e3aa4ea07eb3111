import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseFlag, parseTopology } from './cpu-from-flags.ts'

test('a CPU flag is switched by on and off, and by nothing else', () => {
  assert.deepEqual(parseFlag('aes=on'), ['aes', true])
  assert.deepEqual(parseFlag('sse4.2=off'), ['sse4.2', false])
  assert.throws(() => parseFlag('aes'), /aes/)
  assert.throws(() => parseFlag('aes=yes'), /switches no CPU flag/)
})

test('a topology names its parts, and a part that does not exist is told', () => {
  assert.deepEqual(parseTopology('sockets=2,cores=4'), { sockets: 2, cores: 4 })
  assert.throws(() => parseTopology('cores=four'), /cores=four is no part of a topology/)
  assert.throws(() => parseTopology('core=4'), /core=4 is no part of a topology/)
})
