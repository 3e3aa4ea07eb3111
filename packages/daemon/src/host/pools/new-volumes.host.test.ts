/** What a new file of a volume is like. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import { needs } from '../../../../../tools/require.ts'
import { noJail } from '../jail/testing/test-jail.ts'
import { makeQcow2 } from './qemu-img.ts'
import { openTestPool } from './testing/test-pool.ts'

const skip = needs('root', 'qemu')
const MIB = 2 ** 20

async function newPool(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return openTestPool(t, folder, noJail)
}

const imageInfo = z.object({
  format: z.string(),
  'virtual-size': z.int(),
  'backing-filename': z.string().optional(),
  'backing-filename-format': z.string().optional(),
})

function info(path: string) {
  const text = execFileSync('qemu-img', ['info', '--output=json', path], { encoding: 'utf8' })
  return imageInfo.parse(JSON.parse(text))
}

function refusedWith(code: ErrorCode, pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

test('an empty volume is a thin qcow2 file that only root may read', { skip }, async (t) => {
  const { pool, key, at, ids } = await newPool(t)

  await pool.createEmpty(key('v1'), { capacityBytes: 10 * 2 ** 30 })

  const path = at('v1')
  assert.equal(info(path)['virtual-size'], 10 * 2 ** 30)
  assert.equal(info(path).format, 'qcow2')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.ok(((await pool.allocatedBytes(key('v1'))) ?? Infinity) < MIB)
  assert.deepEqual(ids(), ['v1'])
})

test('an empty volume of any size is what qemu-img would make, and has no fault', { skip }, async (t) => {
  const { pool, key, at } = await newPool(t)
  for (const [index, capacityBytes] of [512, 512 * MIB, 512 * MIB + 512, 2 ** 51].entries()) {
    const [ours, base] = [key(`a${index}`), key(`b${index}`)]
    await pool.createEmpty(base, { capacityBytes })
    await pool.createOverlay(ours, pool.source(base), capacityBytes)

    execFileSync('qemu-img', ['check', '-q', at(`a${index}`)])
    assert.deepEqual(info(at(`a${index}`)), {
      format: 'qcow2',
      'virtual-size': capacityBytes,
      'backing-filename': at(`b${index}`),
      'backing-filename-format': 'qcow2',
    })
    execFileSync('qemu-io', ['-c', `write -P 7 ${capacityBytes - 512} 512`, at(`a${index}`)])
    execFileSync('qemu-io', ['-r', '-c', `read -P 7 ${capacityBytes - 512} 512`, at(`a${index}`)])
    execFileSync('qemu-img', ['check', '-q', at(`a${index}`)])
  }
})

test('a volume that is there is not overwritten', { skip }, async (t) => {
  const { pool, key, at } = await newPool(t)
  await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
  const before = await readFile(at('v1'))

  await assert.rejects(pool.createEmpty(key('v1'), { capacityBytes: 16 * MIB }))

  assert.deepEqual(await readFile(at('v1')), before)
})

test('an overlay has the capacity of its base unless a larger one is asked for', { skip }, async (t) => {
  const { pool, key, at } = await newPool(t)
  await pool.createEmpty(key('base'), { capacityBytes: 64 * MIB })
  const base = { path: at('base'), format: 'qcow2' } as const

  await pool.createOverlay(key('same'), base, 0)
  await pool.createOverlay(key('smaller'), base, 8 * MIB)
  await pool.createOverlay(key('larger'), base, 128 * MIB)

  assert.equal(info(at('same'))['virtual-size'], 64 * MIB)
  assert.equal(info(at('smaller'))['virtual-size'], 64 * MIB)
  assert.equal(info(at('larger'))['virtual-size'], 128 * MIB)
  assert.equal(info(at('larger'))['backing-filename'], base.path)
  assert.equal(info(at('larger'))['backing-filename-format'], 'qcow2')
})

test('a new overlay opens no base, whatever that is', { skip }, async (t) => {
  const { folder } = await newPool(t)
  const path = join(folder, 'overlay')
  await writeFile(path, '')
  const base = { path: '/nonexistent/base', format: 'qcow2' } as const

  await makeQcow2(path, { capacityBytes: 8 * MIB, base })

  assert.equal(info(path)['backing-filename'], base.path)
})

test('an overlay on a raw file takes its size from the file', { skip }, async (t) => {
  const { pool, key, at, folder } = await newPool(t)
  const raw = join(folder, 'disk.raw')
  await writeFile(raw, '')
  await truncate(raw, 32 * MIB)

  await pool.createOverlay(key('v1'), { path: raw, format: 'raw' }, 0)

  assert.equal(info(at('v1'))['virtual-size'], 32 * MIB)
})

test('a volume larger than qcow2 can hold is refused', { skip }, async (t) => {
  const { pool, key } = await newPool(t)

  await assert.rejects(pool.createEmpty(key('v1'), { capacityBytes: 2 ** 52 }), refusedWith('unsupported'))
  await pool.createEmpty(key('v1'), { capacityBytes: 2 ** 51 })
})
