import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import { needs } from '../../../../../tools/require.ts'
import { noJail } from '../jail/testing/test-jail.ts'
import { openDirectoryFiles } from './directory-files.ts'
import { makeQcow2 } from './qemu-img.ts'

const skip = needs('qemu')
const MIB = 2 ** 20

async function newPool(t: TestContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
  t.after(() => rm(stateDir, { recursive: true, force: true }))
  return { stateDir, files: await openDirectoryFiles({ stateDir, jailed: noJail, reservedBytes: 0 }) }
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
  const { files } = await newPool(t)

  await files.createEmpty('v1', 10 * 2 ** 30)

  const path = files.volumePath('v1')
  assert.equal(info(path)['virtual-size'], 10 * 2 ** 30)
  assert.equal(info(path).format, 'qcow2')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.ok(((await files.allocatedBytes('v1')) ?? Infinity) < MIB)
  assert.deepEqual(await files.listVolumes(), ['v1'])
})

test('a volume that is there is not overwritten', { skip }, async (t) => {
  const { files } = await newPool(t)
  await files.createEmpty('v1', 8 * MIB)
  const before = await readFile(files.volumePath('v1'))

  await assert.rejects(files.createEmpty('v1', 16 * MIB))

  assert.deepEqual(await readFile(files.volumePath('v1')), before)
})

test('an overlay has the capacity of its base unless a larger one is asked for', { skip }, async (t) => {
  const { files } = await newPool(t)
  await files.createEmpty('base', 64 * MIB)
  const base = { path: files.volumePath('base'), format: 'qcow2' } as const

  await files.createOverlay('same', base, undefined)
  await files.createOverlay('smaller', base, 8 * MIB)
  await files.createOverlay('larger', base, 128 * MIB)

  assert.equal(info(files.volumePath('same'))['virtual-size'], 64 * MIB)
  assert.equal(info(files.volumePath('smaller'))['virtual-size'], 64 * MIB)
  assert.equal(info(files.volumePath('larger'))['virtual-size'], 128 * MIB)
  assert.equal(info(files.volumePath('larger'))['backing-filename'], base.path)
  assert.equal(info(files.volumePath('larger'))['backing-filename-format'], 'qcow2')
})

test('a new overlay opens no base, whatever that is', { skip }, async (t) => {
  const { stateDir } = await newPool(t)
  const path = join(stateDir, 'overlay')
  await writeFile(path, '')
  const base = { path: '/nonexistent/base', format: 'qcow2' } as const

  await makeQcow2(path, { capacityBytes: 8 * MIB, base })

  assert.equal(info(path)['backing-filename'], base.path)
})

test('an overlay on a raw file takes its size from the file', { skip }, async (t) => {
  const { files, stateDir } = await newPool(t)
  const raw = join(stateDir, 'disk.raw')
  await writeFile(raw, '')
  await truncate(raw, 32 * MIB)

  await files.createOverlay('v1', { path: raw, format: 'raw' }, undefined)

  assert.equal(info(files.volumePath('v1'))['virtual-size'], 32 * MIB)
})

test('volumes, seeds and saves are removed without a word when they are not there', { skip }, async (t) => {
  const { files } = await newPool(t)
  await files.createEmpty('v1', 8 * MIB)

  for (let i = 0; i < 2; i++) {
    await files.removeVolume('v1')
    await files.removeSeed('v1')
    await files.removeSave('v1')
  }

  assert.deepEqual(await files.listVolumes(), [])
  assert.equal(await files.allocatedBytes('v1'), undefined)
})

test('a seed is replaced at once and is for root alone', { skip }, async (t) => {
  const { files, stateDir } = await newPool(t)
  await files.writeSeed('vm1', Buffer.from('first'))
  await files.writeSeed('vm1', Buffer.from('second'))

  assert.equal(await readFile(files.seedPath('vm1'), 'utf8'), 'second')
  assert.equal(statSync(files.seedPath('vm1')).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(stateDir, 'seeds')), ['vm1.iso'])
  assert.deepEqual(await files.listSeeds(), ['vm1'])
})

test('a save is partial until it is committed', { skip }, async (t) => {
  const { files } = await newPool(t)
  await writeFile(files.partialSavePath('vm1'), 'memory')
  assert.deepEqual(await files.listSaves(), [{ vmId: 'vm1', partial: true }])

  const committed = await files.commitSave('vm1')

  assert.deepEqual(committed, { sizeBytes: 6 })
  assert.deepEqual(await files.listSaves(), [{ vmId: 'vm1', partial: false }])
})

test('what is not an id of the daemon never becomes a path', { skip }, async (t) => {
  const { files } = await newPool(t)

  for (const id of ['', '..', '../x', 'a/b', 'a\0b', '-rf', 'a'.repeat(200), 'x.qcow2'])
    assert.throws(() => files.volumePath(id), TypeError, id)
})

test('a volume larger than qcow2 can hold is refused', { skip }, async (t) => {
  const { files } = await newPool(t)

  await assert.rejects(files.createEmpty('v1', 2 ** 52), refusedWith('unsupported'))
  await files.createEmpty('v1', 2 ** 51)
})
