import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { migrations } from './migrations/migrations.ts'
import { openStore } from './open-store.ts'
import { sampleNow, sampleRoomBytes, sampleVm, sampleVolume } from './testing/records.ts'

async function storePath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-store-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'kvasir.db')
}

function open(path: string) {
  return openStore({ path, now: sampleNow, roomBytes: sampleRoomBytes })
}

/** A closed store of 20 VMs. */
function fillStore(path: string): void {
  const store = open(path)
  store.transaction(() => {
    for (let i = 0; i < 20; i++) store.vms.insert(sampleVm(`id-${i}`))
    for (let i = 0; i < 20; i++) store.volumes.insert(sampleVolume(`id-${i}`))
  })
  store.close()
}

/** Every file of the directory but the shared-memory index, which holds nothing of its own. */
function bytesOf(path: string): Record<string, string> {
  const directory = join(path, '..')
  return Object.fromEntries(
    readdirSync(directory)
      .filter((name) => !name.endsWith('-shm'))
      .map((name) => [name, hash('sha256', readFileSync(join(directory, name)))]),
  )
}

function assertRefused(path: string, code: string, pattern: RegExp): void {
  const before = bytesOf(path)

  assert.throws(
    () => open(path),
    (error) => error instanceof KvasirError && error.code === code && pattern.test(error.message),
  )

  assert.deepEqual(bytesOf(path), before, 'The refused store was touched.')
}

test('a store keeps what was written when it is opened again', async (t) => {
  const path = await storePath(t)
  fillStore(path)

  const store = open(path)
  t.after(() => store.close())

  assert.equal(store.vms.list().length, 20)
  assert.deepEqual(store.vms.get('id-3'), { kind: 'vm', record: sampleVm('id-3') })
  assert.deepEqual(store.volumes.find('default', 'volume-id-3'), sampleVolume('id-3'))
})

test('the files of a store are for their owner alone', async (t) => {
  const path = await storePath(t)

  const store = open(path)
  t.after(() => store.close())

  for (const name of readdirSync(join(path, '..')))
    assert.equal(statSync(join(path, '..', name)).mode & 0o777, 0o600, name)
})

test('a store whose beginning was overwritten is refused and left alone', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  const bytes = readFileSync(path)
  bytes.fill(0xaa, 0, 100)
  writeFileSync(path, bytes)

  assertRefused(path, 'store-damaged', /does not start and has changed nothing.*\.recover/)
})

test('a truncated store is refused and left alone', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  truncateSync(path, 16_384 + 100)

  assertRefused(path, 'store-damaged', /is damaged/)
})

test('an empty file in place of a store is damage, not a new store', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  truncateSync(path, 0)

  assertRefused(path, 'store-damaged', /the file is empty/)
})

test('a write-ahead log without its store is damage, not a new store', async (t) => {
  const path = await storePath(t)
  writeFileSync(`${path}-wal`, 'left over')

  assertRefused(path, 'store-damaged', /write-ahead log is there/)
})

test('a page full of noise is found at start', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  const bytes = readFileSync(path)
  bytes.fill(0x5a, 4096 * 3, 4096 * 4)
  writeFileSync(path, bytes)

  assertRefused(path, 'store-damaged', /is damaged/)
})

test('a SQLite file of another program is refused and left alone', async (t) => {
  const path = await storePath(t)
  const other = new DatabaseSync(path)
  other.exec('CREATE TABLE theirs (x)')
  other.close()

  assertRefused(path, 'store-damaged', /a database of something else/)
})

test('a store of a newer form is refused and left alone', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  const raw = new DatabaseSync(path)
  raw.exec('PRAGMA user_version = 99')
  raw.close()

  assertRefused(path, 'store-too-new', /has form 99 .* Install the newer Kvasir again/)
})

test('a store that other migrations made is refused and left alone', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  const raw = new DatabaseSync(path)
  raw.exec("UPDATE migrations SET digest = 'other'")
  raw.close()

  assertRefused(path, 'store-damaged', /other migrations/)
})

const nextForm = migrations.length + 1
const nextText = String(nextForm).padStart(4, '0')

test('a store of an older form is copied before it is migrated', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  const second = { number: nextForm, name: 'colours', sql: 'CREATE TABLE colours (x TEXT) STRICT' }

  const store = openStore({
    path,
    now: sampleNow,
    roomBytes: sampleRoomBytes,
    migrations: [...migrations, second],
  })
  store.close()

  const copy = `${path}.before-${nextText}-20261121T100000000Z`
  assert.equal(statSync(copy).mode & 0o777, 0o600)
  const old = open(copy)
  assert.equal(old.vms.list().length, 20)
  old.close()
  assertRefused(path, 'store-too-new', new RegExp(`go back to the copy .*before-${nextText}`))
})

test('in a store from before pools, volumes are found in the default pool', async (t) => {
  const path = await storePath(t)
  const before = openStore({
    path,
    now: sampleNow,
    roomBytes: sampleRoomBytes,
    migrations: migrations.slice(0, 1),
  })
  before.close()
  const raw = new DatabaseSync(path)
  const volume = sampleVolume('id-1')
  const content = JSON.stringify(volume)
  const digest = hash('sha256', `${volume.id}\n1\n${content}`, 'buffer')
  raw
    .prepare('INSERT INTO volumes (id, name, revision, version, content, digest) VALUES (?, ?, 0, 1, ?, ?)')
    .run(volume.id, volume.name, content, digest)
  raw.close()

  const store = open(path)

  assert.deepEqual(store.volumes.find('default', volume.name), volume)
  assert.deepEqual(store.volumes.list(), [volume])
  assert.throws(() => store.volumes.insert(sampleVolume('id-2', { name: volume.name })), {
    code: 'name-taken',
  })
  store.volumes.insert(sampleVolume('id-2', { name: volume.name, pool: 'fast' }))
  assert.equal(store.volumes.find('fast', volume.name)?.id, 'id-2')
  store.close()
})

test('a migration that does not work leaves the store as it was', async (t) => {
  const path = await storePath(t)
  fillStore(path)
  const broken = { number: nextForm, name: 'broken', sql: 'CREATE TABLE colours (x TEXT) STRICT; NONSENSE' }

  assert.throws(
    () =>
      openStore({ path, now: sampleNow, roomBytes: sampleRoomBytes, migrations: [...migrations, broken] }),
    (error) => error instanceof KvasirError && /was undone/.test(error.message),
  )

  const store = open(path)
  assert.equal(store.vms.list().length, 20)
  store.close()
})

test('what a killed daemon left of a new store does not hinder the next start', async (t) => {
  const path = await storePath(t)
  writeFileSync(`${path}.new`, 'half')
  writeFileSync(`${path}.new-journal`, 'half')

  const store = open(path)
  store.close()

  assert.equal(existsSync(`${path}.new`), false)
  assert.equal(existsSync(`${path}.new-journal`), false)
})
