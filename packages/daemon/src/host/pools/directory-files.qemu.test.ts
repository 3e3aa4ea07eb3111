import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import { needs } from '../../../../../tools/require.ts'
import { openDirectoryFiles } from './directory-files.ts'

const skip = needs('qemu')
const MIB = 2 ** 20

async function newPool(t: TestContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
  t.after(() => rm(stateDir, { recursive: true, force: true }))
  return { stateDir, files: await openDirectoryFiles({ stateDir, reservedBytes: 0 }) }
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

function qemuIo(path: string, ...commands: string[]): string {
  const args = commands.flatMap((command) => ['-c', command])
  return execFileSync('qemu-io', ['-f', 'qcow2', ...args, path], { encoding: 'utf8' })
}

function refusedWith(code: ErrorCode, pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

const noProgress = () => ({ onProgress: () => {}, signal: new AbortController().signal })

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

test('an overlay on a raw file takes its size from the file', { skip }, async (t) => {
  const { files, stateDir } = await newPool(t)
  const raw = join(stateDir, 'disk.raw')
  await writeFile(raw, '')
  await truncate(raw, 32 * MIB)

  await files.createOverlay('v1', { path: raw, format: 'raw' }, undefined)

  assert.equal(info(files.volumePath('v1'))['virtual-size'], 32 * MIB)
})

test('a copy is flat, whole, and tells its progress', { skip }, async (t) => {
  const { files } = await newPool(t)
  await files.createEmpty('base', 64 * MIB)
  qemuIo(files.volumePath('base'), 'write -P 0x11 0 8M')
  await files.createOverlay('top', { path: files.volumePath('base'), format: 'qcow2' }, undefined)
  qemuIo(files.volumePath('top'), 'write -P 0x22 4M 1M')
  const told: number[] = []

  await files.createCopy(
    'copy',
    { path: files.volumePath('top'), format: 'qcow2' },
    {
      onProgress: (fraction) => told.push(fraction),
      signal: new AbortController().signal,
      backing: [{ path: files.volumePath('base'), format: 'qcow2' }],
    },
  )

  const path = files.volumePath('copy')
  assert.equal(info(path)['backing-filename'], undefined)
  const reads = qemuIo(
    path,
    'read -P 0x11 0 4M',
    'read -P 0x22 4M 1M',
    'read -P 0x11 5M 3M',
    'read -P 0 8M 56M',
  )
  assert.doesNotMatch(reads, /verification failed/)
  assert.equal(told.at(-1), 1)
  assert.ok(told.every((fraction) => fraction >= 0 && fraction <= 1))
})

test('a cancelled copy leaves no file and no process', { skip }, async (t) => {
  const { files } = await newPool(t)
  await files.createEmpty('v1', 256 * MIB)
  qemuIo(files.volumePath('v1'), 'write -P 0x11 0 200M')
  const abort = new AbortController()
  const why = new KvasirError('cancelled', 'The job was cancelled.')

  const copy = files.createCopy(
    'copy',
    { path: files.volumePath('v1'), format: 'qcow2' },
    { onProgress: () => abort.abort(why), signal: abort.signal },
  )

  await assert.rejects(copy, why)
  assert.deepEqual(await files.listVolumes(), ['v1'])
})

test('a volume whose header names a file of the host is neither copied nor opened', { skip }, async (t) => {
  const { files } = await newPool(t)
  await files.createEmpty('own', 8 * MIB)
  await files.createEmpty('other', 8 * MIB)
  const hostile = async (id: string, base: string, format: string) => {
    execFileSync('qemu-img', [
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-F',
      format,
      '-b',
      base,
      files.volumePath(id),
      '8M',
    ])
    return { path: files.volumePath(id), format: 'qcow2' } as const
  }
  const shadow = await hostile('a', '/etc/shadow', 'raw')
  const sideways = await hostile('b', files.volumePath('other'), 'qcow2')
  const upwards = await hostile('c', `${files.volumePath('own')}/../../../etc/shadow`, 'raw')
  const url = await hostile(
    'd',
    'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}',
    'raw',
  )

  for (const source of [shadow, upwards, url])
    await assert.rejects(
      files.createCopy('copy', source, noProgress()),
      refusedWith('image-refused', /outside/),
    )
  await assert.rejects(
    files.createCopy('copy', sideways, { ...noProgress(), backing: [] }),
    refusedWith('image-refused', /another base/),
  )

  assert.equal(existsSync(files.volumePath('copy')), false)
})

test('a volume that keeps its data in another file, or is none, is refused', { skip }, async (t) => {
  const { files, stateDir } = await newPool(t)
  const data = join(stateDir, 'data')
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    `data_file=${data}`,
    files.volumePath('a'),
    '8M',
  ])
  writeFileSync(files.volumePath('b'), 'no image at all')
  symlinkSync('/etc/shadow', files.volumePath('c'))
  execFileSync('mkfifo', [files.volumePath('d')])

  const codes: unknown[] = []
  for (const id of ['a', 'b', 'c', 'd', 'e'])
    await files
      .createCopy('copy', { path: files.volumePath(id), format: 'qcow2' }, noProgress())
      .catch((error: unknown) => codes.push(error instanceof KvasirError && error.code))

  assert.deepEqual(codes, [
    'image-refused',
    'image-refused',
    'file-not-found',
    'image-refused',
    'file-not-found',
  ])
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
