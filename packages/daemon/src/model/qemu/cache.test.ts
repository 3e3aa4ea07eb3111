/** Whether the page cache of the host holds what a disk has. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseCache } from './cache.ts'

const local = { isLocal: true, directIo: true }
const remote = { isLocal: false, directIo: true }

test('a file that this host alone has goes through the page cache; all else past it', () => {
  assert.equal(chooseCache({}, local).mode, 'writeback')
  assert.equal(chooseCache({}, remote).mode, 'none')
})

test('what the spec says counts, except where the file system refuses it', () => {
  for (const cache of ['none', 'writeback', 'unsafe'] as const)
    for (const ground of [local, remote]) assert.equal(chooseCache({ cache }, ground).mode, cache)
  assert.equal(chooseCache({ cache: 'none' }, { ...local, directIo: false }).mode, 'writeback')
})

test('disks that several VMs share and those with native AIO go past it; a CD-ROM never does', () => {
  assert.equal(chooseCache({ shareable: true }, local).mode, 'none')
  assert.equal(chooseCache({ aio: 'native' }, local).mode, 'none')
  assert.equal(chooseCache({ device: 'cdrom', cache: 'none' }, remote).mode, 'writeback')
})
