import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryRoom } from './memory-room.ts'
import { type Holding, occupancyOf } from './occupancy.ts'
import { gib, regularHost } from './testing/hosts.ts'

function holder(memory: Holding['memory'], isUntaken: boolean): Holding {
  return { vm: 'a', dedicated: [], shared: [], helpers: [], memory, isUntaken }
}

test('what a VM that starts will take of a node is not free there, though the host says so', () => {
  const host = regularHost({ nodes: 2, l3: 1, cores: 2, threads: 1 })
  const nodes = host.nodes.map((node) => ({ ...node, memoryBytes: 64 * gib, freeBytes: 10 * gib }))
  const memory = [{ node: 0, bytes: 8 * gib }]
  const room = (isUntaken: boolean, pages?: number) =>
    memoryRoom(0, {
      host: {
        topology: { ...host, nodes },
        holdings: [],
        pageRoom: pages === undefined ? undefined : new Map([[0, pages]]),
      },
      occupancy: occupancyOf([holder(memory, isUntaken)]),
    })

  assert.deepEqual([room(false), room(true)], [10 * gib, 2 * gib])
  assert.deepEqual([room(false, 9 * gib), room(true, 9 * gib), room(true, gib)], [9 * gib, gib, 0])
})
