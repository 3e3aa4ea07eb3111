import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { requireAvailable, requireLockable, requireNodes } from './host-memory.ts'

const gib = 2 ** 30
const node = (number: number, memoryBytes: number) => ({ node: number, cpus: [], memoryBytes, distances: [] })
const memory = (nodes: number[], nodePolicy: 'bind' | 'interleave' = 'bind') =>
  vmSpec.parse({ memory: { size: '4GiB', nodes, nodePolicy } }).memory

test('memory is bound only to nodes that the host has, with enough of it', () => {
  const nodes = [node(0, 8 * gib), node(2, 2 * gib), node(3, 0)]

  requireNodes('web1', memory([0]), nodes)
  requireNodes('web1', memory([0, 2]), nodes)
  requireNodes('web1', memory([2], 'interleave'), nodes)
  assert.throws(() => requireNodes('web1', memory([1]), nodes), /node 1, and this host has only 0, 2, 3/)
  assert.throws(() => requireNodes('web1', memory([2]), nodes), /4 GiB of memory of node 2, which has 2 GiB/)
  assert.throws(() => requireNodes('web1', memory([3]), nodes), /node 3, which has none/)
  assert.throws(() => requireNodes('web1', memory([0]), []), /has no NUMA/)
})

test('memory is locked only within what the daemon may allow', () => {
  requireLockable('web1', gib, undefined)
  requireLockable('web1', gib, gib)
  assert.throws(() => requireLockable('web1', gib, 2 ** 23), /LimitMEMLOCK=infinity/)
})

test('memory that is taken at the start has to be there', () => {
  requireAvailable('web1', gib, gib)
  assert.throws(() => requireAvailable('web1', 2 * gib, gib), { code: 'not-enough-memory' })
})
