import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openSecretFiles } from './secret-files.ts'

async function stateDirFor(t: TestContext): Promise<string> {
  const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-secrets-'))
  t.after(() => rm(stateDir, { recursive: true, force: true }))
  return stateDir
}

test('a secret is a file for its owner alone, and gone once it was removed', async (t) => {
  const stateDir = await stateDirFor(t)
  const secrets = await openSecretFiles(stateDir)

  await secrets.write('s1', 'pässword')
  await secrets.generate('s2')

  const modes = ['', 's1', 's2'].map((name) => statSync(join(stateDir, 'secrets', name)).mode & 0o777)
  assert.deepEqual(modes, [0o700, 0o600, 0o600])
  assert.equal((await secrets.read('s1')).toString(), 'pässword')
  assert.equal(Buffer.from((await secrets.read('s2')).toString(), 'base64').length, 32)
  await secrets.remove('s1')
  await secrets.remove('s1')
  assert.deepEqual(readdirSync(join(stateDir, 'secrets')), ['s2'])
  await assert.rejects(secrets.read('s1'), { code: 'secret-not-found' })
})

test('what a killed daemon half wrote is removed, and no id leads out of the folder', async (t) => {
  const stateDir = await stateDirFor(t)
  await openSecretFiles(stateDir)
  await writeFile(join(stateDir, 'secrets', 's1.partial'), 'half')

  const secrets = await openSecretFiles(stateDir)

  assert.deepEqual(readdirSync(join(stateDir, 'secrets')), [])
  for (const id of ['', '..', '../x', 'a/b', '-x'])
    await assert.rejects(async () => await secrets.read(id), TypeError)
})
