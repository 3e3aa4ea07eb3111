import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { QmpClient } from '@kvasir/qmp'
import { startEmulator } from '@kvasir/qmp/testing/emulator'
import { needs } from '../../../../../tools/require.ts'
import { openSecretFiles } from '../files/secret-files.ts'
import { lockedWords, rightKey, wrongKey } from '../files/testing/locked-words.ts'
import { addSecret } from './hand-secrets.ts'

const skip = needs('qemu')

for (const format of ['raw', 'base64'] as const)
  test(`a running QEMU has a secret that it was given as ${format}, byte by byte, and the newest one`, {
    skip,
  }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'kvasir-hand-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const secrets = await openSecretFiles(folder)
    const kept = (key: string) => (format === 'raw' ? key : `${Buffer.from(key).toString('base64')}\n`)
    await secrets.write('right', kept(rightKey))
    await secrets.write('wrong', kept(wrongKey))
    await using emulator = await startEmulator()
    using monitor = await QmpClient.connect({ path: emulator.path })
    const unlock = () => monitor.execute('object-add', { id: 'words', ...lockedWords('sec.key') })

    await addSecret(monitor, { object: 'sec.key', secretId: 'wrong', format }, secrets)
    await assert.rejects(unlock())
    await addSecret(monitor, { object: 'sec.key', secretId: 'right', format }, secrets)
    await unlock()
  })
