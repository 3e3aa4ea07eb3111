import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { copyDisks, findSnapshots, noteSnapshot, provideDisks } from './disk-state.ts'
import { placeOf } from './places.ts'

const skip = needs('qemu')

/** A checkout, and an image of which only the disk is there. */
function makeParts(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-lab-disks-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const image = {
    digest: 'a-recipe',
    folder,
    root: folder,
    emulator: join(folder, 'emulator'),
    disk: join(folder, 'disk.img'),
    kernel: '',
    initrd: '',
  }
  const build = () => {
    rmSync(image.disk, { force: true })
    writeFileSync(image.disk, '')
    truncateSync(image.disk, 1024 ** 2)
  }
  build()
  return { place: placeOf(folder), image, build }
}

test('disks with a snapshot are used again', { skip }, async (t) => {
  const { place, image } = makeParts(t)
  assert.deepEqual(await provideDisks(place, image), [])

  await noteSnapshot(place, { name: 'booted', isThere: true })

  assert.deepEqual(await provideDisks(place, image), ['booted'])
})

test('disks are made anew when the image was built again, be it of the same recipe', { skip }, async (t) => {
  const { place, image, build } = makeParts(t)
  await provideDisks(place, image)
  await noteSnapshot(place, { name: 'booted', isThere: true })

  build()

  assert.deepEqual(await findSnapshots(place, image), [])
  assert.deepEqual(await provideDisks(place, image), [])
})

test('disks without a snapshot are not used again: a boot that was interrupted wrote to them', {
  skip,
}, async (t) => {
  const { place, image } = makeParts(t)
  await provideDisks(place, image)
  writeFileSync(place.overlay('root'), 'half a boot')

  assert.deepEqual(await provideDisks(place, image), [])

  assert.equal(readFileSync(place.overlay('root'), 'latin1').slice(0, 3), 'QFI')
})

test('disks of one lab are copied to another with their snapshots, once', { skip }, async (t) => {
  const { place, image } = makeParts(t)
  const other = placeOf(place.checkout, 1)
  await assert.rejects(copyDisks(place, other), /There are no disks/)
  await provideDisks(place, image)
  await noteSnapshot(place, { name: 'booted', isThere: true })

  await copyDisks(place, other)
  const copied = await findSnapshots(other, image)
  writeFileSync(other.overlay('swap'), 'its own')
  await copyDisks(place, other)
  const kept = readFileSync(other.overlay('swap'), 'utf8')
  await noteSnapshot(place, { name: 'kept', isThere: true })
  await copyDisks(place, other)

  assert.deepEqual(copied, ['booted'])
  assert.equal(kept, 'its own')
  assert.notEqual(readFileSync(other.overlay('swap'), 'utf8'), 'its own')
})
