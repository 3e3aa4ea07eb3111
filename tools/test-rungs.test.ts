import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { findTestFiles, inTurn, rungOf, sideBySide } from './test-rungs.ts'

test('a file belongs to the rung that the end of its name says', () => {
  assert.equal(rungOf('packages/qmp/src/client.test.ts'), 'unit')
  assert.equal(rungOf('packages/qmp/src/client.qemu.test.ts'), 'qemu')
  assert.equal(rungOf('packages/linux/src/cgroup.host.test.ts'), 'host')
  assert.equal(rungOf('e2e/suites/life.e2e.ts'), 'e2e')
  assert.equal(rungOf('lab/suites/kvm.lab.ts'), 'lab')
  assert.equal(rungOf('packages/qmp/src/client.ts'), undefined)
})

test('files are found below the packages, and filters narrow them by path', () => {
  const root = mkdtempSync(join(tmpdir(), 'kvasir-rungs-'))
  const files = ['packages/a/src/x.test.ts', 'packages/a/src/y.test.ts', 'packages/a/node_modules/z.test.ts']
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), '')
  }

  const all = findTestFiles('unit', { root, filters: [] })
  const some = findTestFiles('unit', { root, filters: ['src/y'] })
  rmSync(root, { recursive: true })

  assert.deepEqual(all, files.slice(0, 2))
  assert.deepEqual(some, files.slice(1, 2))
})

test('files that need the machine for themselves run one by one after the others', () => {
  const files = ['e2e/suites/crash.e2e.ts', 'e2e/suites/disks.e2e.ts', 'e2e/suites/life.e2e.ts']
  assert.deepEqual(sideBySide(files, { alone: /crash/, concurrency: 2 }), [
    [files.slice(1), 2],
    [files.slice(0, 1), 1],
  ])
  assert.deepEqual(sideBySide(files, { concurrency: 3 }), [[files, 3]])
  assert.deepEqual(sideBySide(files, { alone: /crash/, concurrency: 1 }), [[files, 1]])
  assert.deepEqual(sideBySide([], { alone: /crash/, concurrency: 2 }), [])
})

test('another word begins with another file, and all of them are there', () => {
  const files = Array.from({ length: 20 }, (_, index) => `lab/suites/${index}.lab.ts`)
  const orders = ['9d3abc0', '1cb2c4d', 'fa11782'].map((word) => inTurn(files, word))

  assert.equal(new Set(orders.map(([first]) => first)).size, 3)
  for (const order of orders) assert.deepEqual(order.toSorted(), files.toSorted())
  assert.deepEqual(inTurn(files, undefined), files)
  assert.deepEqual(inTurn([], 'word'), [])
})
