import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Snapshot } from '@kvasir/contract'
import { drawTree } from './draw-tree.ts'

function snapshot(name: string, parent: string | undefined, current = false): Snapshot {
  return {
    id: '3c4f9f6a-7e43-4b0e-9d55-0c8a1f6f2b10',
    vm: 'web1',
    name,
    description: '',
    ...(parent === undefined ? {} : { parent }),
    current,
    state: 'ready',
    createdAt: 'then',
    quiesced: false,
    sizeBytes: 1024,
    disks: [],
  }
}

test('a tree shows each snapshot under its parent, and where the VM is at', () => {
  const tree = drawTree([
    snapshot('a', undefined),
    snapshot('b', 'a'),
    snapshot('c', 'a', true),
    snapshot('d', 'b'),
  ])

  assert.equal(
    tree,
    [
      '└─ a  then  1 KiB',
      '   ├─ b  then  1 KiB',
      '   │  └─ d  then  1 KiB',
      '   └─ c  then  1 KiB',
      '      └─ (now)',
      '',
    ].join('\n'),
  )
})

test('disks that came from no snapshot stand beside all of them', () => {
  assert.equal(drawTree([snapshot('a', undefined)]), '├─ a  then  1 KiB\n└─ (now)\n')
  assert.equal(drawTree([]), '└─ (now)\n')
})
