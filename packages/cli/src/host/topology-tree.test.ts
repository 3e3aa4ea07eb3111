/** `KVASIR_UPDATE_GOLDEN=1` writes the files anew. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryTree } from '@kvasir/linux/testing/machine-files'
import { machines } from '@kvasir/linux/testing/machines'
import { readTopology } from '@kvasir/linux/topology'
import { drawTopology } from './topology-tree.ts'

const folder = join(import.meta.dirname, 'golden')
const updating = process.env['KVASIR_UPDATE_GOLDEN'] === '1'

for (const [name, files] of Object.entries(machines)) {
  test(`the tree of ${name} is the one that is kept`, async () => {
    const file = join(folder, `${name}.tree`)
    const topology = await readTopology(memoryTree(files()))
    assert.ok(topology)

    const text = drawTopology(topology, (title) => title)

    if (updating) writeFileSync(file, text)
    assert.equal(text, readFileSync(file, 'utf8'))
  })
}

test('there is a tree for every machine and no other', () => {
  const trees = readdirSync(folder).filter((name) => name.endsWith('.tree'))
  assert.deepEqual(new Set(trees), new Set(Object.keys(machines).map((name) => `${name}.tree`)))
})
