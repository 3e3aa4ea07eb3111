import assert from 'node:assert/strict'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { emulatorTrees } from './emulator-trees.ts'

test('a cage shows where a QEMU of its own was installed, and no more than that', async (t) => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kvasir-trees-')))
  t.after(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'qemu/bin'), { recursive: true })
  await writeFile(join(folder, 'qemu/bin/qemu'), '')
  await writeFile(join(folder, 'qemu/build'), '')
  await symlink('qemu/bin/qemu', join(folder, 'link'))

  assert.deepEqual(await emulatorTrees(join(folder, 'qemu/bin/qemu')), [join(folder, 'qemu')])
  assert.deepEqual(await emulatorTrees(join(folder, 'qemu/build')), [join(folder, 'qemu')])
  assert.deepEqual(await emulatorTrees(join(folder, 'link')), [folder, join(folder, 'qemu')])
})

test('for a QEMU below /usr, in the root itself or nowhere, it shows nothing more', async () => {
  for (const binary of [undefined, '/usr/bin/env', '/bin/sh', '/no/such/qemu', '/dev/null'])
    assert.deepEqual(await emulatorTrees(binary), [], String(binary))
})
