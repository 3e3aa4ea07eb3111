import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import { giveReach, handReachOver, takeReachBack, writeReach } from './emulator-reach.ts'
import { type EmulatorPaths, emulatorPaths, makeDirectories } from './runtime-directory.ts'

const skip = needs('root')
const server = (address: string) => [{ address, firstPort: 3260 }]

test('what a copy lies on is reached beside the disk, and instead of what that lay on once the disk has gone over', {
  skip,
}, async (t) => {
  const paths = await newPaths(t)
  const lines = async () => (await readFile(paths.reach, 'utf8')).split('\n').filter((line) => line !== '')
  const old = '192.0.2.1 32 3260 3260 0 data'
  const other = '192.0.2.3 32 3260 3260 0 other'
  await writeReach(paths, [
    { disk: 'data', servers: server('192.0.2.1') },
    { disk: 'other', servers: server('192.0.2.3') },
  ])

  const connector = { ensure: async () => undefined }
  const otherwise = 'it is there later'
  await giveReach({ paths, connector }, { disk: 'copy', servers: server('192.0.2.2'), otherwise })
  assert.deepEqual(await lines(), [old, other, '192.0.2.2 32 3260 3260 0 copy'])
  const over = { from: 'copy', to: 'data' }
  await handReachOver(paths, { ...over, isFirst: true })
  await handReachOver(paths, { ...over, isFirst: false }) // Whoever does it may die after it.
  assert.deepEqual(await lines(), [other, '192.0.2.2 32 3260 3260 0 data'])

  await handReachOver(paths, { ...over, isFirst: true })
  assert.deepEqual(await lines(), [other], 'A copy on no server leaves the disk nothing to reach.')
  await takeReachBack(paths, 'other')
  assert.deepEqual(await lines(), [])
})

test('an emulator that nobody can connect for is given no server', { skip }, async (t) => {
  const paths = await newPaths(t)
  const connector = { ensure: async () => 'the kernel has no listener' }
  const give = (servers: ReturnType<typeof server>) =>
    giveReach({ paths, connector }, { disk: 'copy', servers, otherwise: 'it is there later' })

  await assert.rejects(
    give(server('192.0.2.2')),
    /given none \(the kernel has no listener\); it is there later/,
  )
  await give([])
  await assert.rejects(readFile(paths.reach))
})

async function newPaths(t: TestContext): Promise<EmulatorPaths> {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-reach-'))
  t.after(() => rm(directory, { recursive: true }))
  const roots = { runtimeDir: directory, logDir: directory }
  const paths = emulatorPaths(roots, '00000000-0000-4000-8000-000000000001')
  await makeDirectories(paths)
  return paths
}
