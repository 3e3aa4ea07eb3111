import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { openStateFiles } from '../files/state-files.ts'
import { openTestJail } from '../jail/testing/test-jail.ts'
import { openTestPool } from './testing/test-pool.ts'

const skip = needs('root', 'qemu')
const MIB = 2 ** 20

async function smallPool(t: TestContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m,mode=0700', 'kvasir-test', stateDir])
  t.after(async () => {
    execFileSync('umount', [stateDir])
    await rm(stateDir, { recursive: true, force: true })
  })
  const jail = await openTestJail()
  t.after(() => jail[Symbol.asyncDispose]())
  const files = await openStateFiles({ stateDir, reservedBytes: 0 })
  return { stateDir, files, ...openTestPool(t, join(stateDir, 'volumes'), jail.jailed) }
}

function hasCode(code: ErrorCode) {
  return (error: unknown) => error instanceof KvasirError && error.code === code
}

test('a full disk refuses a volume and a seed, and leaves no part of them', { skip }, async (t) => {
  const { stateDir, files, pool, key, ids } = await smallPool(t)
  const free = await files.freeBytes()
  await writeFile(join(stateDir, 'filler'), Buffer.alloc(free - 8_192)) // A new qcow2 file takes three pages.

  await assert.rejects(pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB }), hasCode('not-enough-space'))
  await assert.rejects(files.writeSeed('vm1', Buffer.alloc(MIB)), hasCode('not-enough-space'))

  assert.deepEqual(ids(), [])
  assert.deepEqual(await files.listSeeds(), [])
  await rm(join(stateDir, 'filler'))
  await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
})

test('a copy that does not fit is refused before it begins', { skip }, async (t) => {
  const { pool, key, at, ids } = await smallPool(t)
  await pool.createEmpty(key('v1'), { capacityBytes: 64 * MIB })
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 20M', at('v1')])
  const source = { path: at('v1'), format: 'qcow2' } as const
  let told = 0

  const copy = pool.createCopy(key('v2'), [source], {
    onProgress: () => told++,
    signal: new AbortController().signal,
  })

  await assert.rejects(copy, hasCode('not-enough-space'))
  assert.equal(told, 0)
  assert.deepEqual(ids(), ['v1'])
})

test('a disk that fills during a copy fails the copy and gets its space back', { skip }, async (t) => {
  const { stateDir, files, pool, key, at } = await smallPool(t)
  const plain = await mkdtemp(join(tmpdir(), 'kvasir-plain-'))
  t.after(() => rm(plain, { recursive: true, force: true }))
  const wide = join(plain, 'wide.qcow2')
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', wide, '64M'])
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 48M', wide])
  // Compressed, it occupies a fraction of what its copy needs.
  execFileSync('qemu-img', ['convert', '-c', '-O', 'qcow2', wide, at('v1')])
  const source = { path: at('v1'), format: 'qcow2' } as const
  const before = await files.freeBytes()

  const copy = pool.createCopy(key('v2'), [source], {
    onProgress: () => {},
    signal: new AbortController().signal,
  })

  await assert.rejects(copy, hasCode('not-enough-space'))
  assert.equal(await files.freeBytes(), before)
  await writeFile(join(stateDir, 'still-writable'), 'x')
})
