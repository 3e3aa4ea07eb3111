import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { testStateFiles } from '../../ports/files.suite.ts'
import { openStateFiles } from './state-files.ts'

testStateFiles({
  name: 'state files',
  async open(t) {
    const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-state-'))
    t.after(() => rm(stateDir, { recursive: true, force: true }))
    const files = await openStateFiles({ stateDir, reservedBytes: 0 })
    return {
      files,
      writePartialSave: (vmId, content) => writeFile(files.partialSavePath(vmId), content),
    }
  },
})

test('a seed is replaced at once and is for root alone', async (t) => {
  const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-state-'))
  t.after(() => rm(stateDir, { recursive: true, force: true }))
  const files = await openStateFiles({ stateDir, reservedBytes: 0 })

  await files.writeSeed('vm1', Buffer.from('first'))
  await files.writeSeed('vm1', Buffer.from('second'))

  assert.equal(await readFile(files.seedPath('vm1'), 'utf8'), 'second')
  assert.equal(statSync(files.seedPath('vm1')).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(stateDir, 'seeds')), ['vm1.iso'])
  assert.deepEqual(await files.listSeeds(), ['vm1'])
})
