import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Image } from '@kvasir/contract'
import { type ImageShelf, openImageShelf, type StagedFacts } from './image-files.ts'

const signal = AbortSignal.timeout(60_000)
const facts: StagedFacts = {
  name: 'tiny',
  os: 'linux',
  release: 'tiny',
  version: '1',
  architecture: 'x86_64',
  boot: 'kernel',
  firmware: ['bios'],
  source: 'a test',
  cmdline: 'quiet',
  createdAt: '2026-01-01T00:00:00.000Z',
}

async function openShelf(context: TestContext): Promise<{ shelf: ImageShelf; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-shelf-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  return { shelf: await openImageShelf(folder), folder }
}

async function put(shelf: ImageShelf, change: Partial<StagedFacts> = {}): Promise<Image> {
  await using staged = await shelf.stage()
  writeFileSync(staged.paths.kernel, 'kernel')
  writeFileSync(staged.paths.initrd, 'initrd')
  return await staged.publish({ ...facts, ...change }, signal)
}

test('a published image is listed with digests, and its files can only be read', async (context) => {
  const { shelf } = await openShelf(context)

  const image = await put(shelf)

  assert.deepEqual((await shelf.list()).images, [image])
  assert.equal(image.kernel?.sizeBytes, 6)
  assert.equal(statSync(shelf.paths(image.id).kernel).mode & 0o7777, 0o444)
})

test('the same content is one image, whatever it is called; another command line makes another', async (context) => {
  const { shelf, folder } = await openShelf(context)

  const first = await put(shelf)
  const again = await put(shelf, { name: 'other', createdAt: '2027-01-01T00:00:00.000Z' })
  const other = await put(shelf, { cmdline: 'verbose' })

  assert.deepEqual(again, first)
  assert.notEqual(other.id, first.id)
  assert.deepEqual(readdirSync(folder).toSorted(), [first.id, other.id].toSorted())
})

test('an image that was cut short is reported and does not hide the others', async (context) => {
  const { shelf } = await openShelf(context)
  const good = await put(shelf)
  const bad = await put(shelf, { cmdline: 'verbose' })
  chmodSync(shelf.paths(bad.id).kernel, 0o644)
  writeFileSync(shelf.paths(bad.id).kernel, 'ker')

  const { images, unreadable } = await shelf.list()

  assert.deepEqual(images, [good])
  assert.deepEqual(unreadable, [{ id: bad.id, reason: 'kernel has 3 bytes where 6 were written.' }])
})

test('publishing the content of a damaged image puts it right', async (context) => {
  const { shelf } = await openShelf(context)
  const image = await put(shelf)
  rmSync(shelf.paths(image.id).initrd)

  await put(shelf)

  assert.deepEqual((await shelf.list()).unreadable, [])
  assert.ok(existsSync(shelf.paths(image.id).initrd))
})

test('what was given up or interrupted leaves nothing', async (context) => {
  const { shelf, folder } = await openShelf(context)
  {
    await using staged = await shelf.stage()
    writeFileSync(staged.paths.kernel, 'kernel')
  }
  assert.deepEqual(readdirSync(folder), [])

  mkdirSync(join(folder, '.staging-of-a-dead-daemon'))
  mkdirSync(join(folder, '.removed-half'))
  await shelf.sweep()
  assert.deepEqual(readdirSync(folder), [])
})

test('a removed image is gone, removing it again is no error, and no id is a path', async (context) => {
  const { shelf, folder } = await openShelf(context)
  const image = await put(shelf)

  await shelf.remove(image.id)
  await shelf.remove(image.id)

  assert.deepEqual(readdirSync(folder), [])
  assert.throws(() => shelf.paths('../../etc'), /names no image/)
  await assert.rejects(async () => shelf.remove('..'), /names no image/)
})

test('a cancelled publication leaves the shelf as it was', async (context) => {
  const { shelf, folder } = await openShelf(context)
  await using staged = await shelf.stage()
  writeFileSync(staged.paths.kernel, 'kernel')

  await assert.rejects(staged.publish(facts, AbortSignal.abort(new Error('enough'))), /enough|abort/)

  assert.ok(readdirSync(folder).every((name) => name.startsWith('.')))
})
