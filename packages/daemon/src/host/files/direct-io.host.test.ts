import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import { openStateFiles } from './state-files.ts'

test('a file system that refuses O_DIRECT is known, and nothing of the trial stays', {
  skip: needs('root'),
}, async (t) => {
  const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-direct-'))
  execFileSync('mount', ['-t', 'ramfs', 'kvasir-test', stateDir])
  t.after(async () => {
    execFileSync('umount', [stateDir])
    await rm(stateDir, { recursive: true, force: true })
  })

  const files = await openStateFiles({ stateDir })

  assert.equal(files.directIo, false)
  const names = ['notes', 'nvram', 'saves', 'seeds', 'snapshots', 'tpm', 'volumes']
  assert.deepEqual((await readdir(stateDir)).toSorted(), names)
  assert.deepEqual(await readdir(join(stateDir, 'volumes')), [])
})
