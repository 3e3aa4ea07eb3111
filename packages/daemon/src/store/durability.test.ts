import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Database } from './database.ts'
import { openStore } from './open-store.ts'
import { sampleNow } from './testing/records.ts'

/** What https://sqlite.org/pragma.html#pragma_synchronous calls these numbers. */
const [normal, full] = [1, 2]

test('a transaction waits for the disk unless its outermost one outlives the daemon alone, also after one that failed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-store-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'kvasir.db')
  openStore({ path, now: sampleNow }).close()
  const database = new Database(path, 'write')
  t.after(() => database.close())
  const level = () => Number(database.get('PRAGMA synchronous')?.['synchronous'])
  const ofTheDaemon = { outlives: 'daemon' } as const

  const usual = database.transaction(level)
  const light = database.transaction(level, ofTheDaemon)
  const inner = database.transaction(() => database.transaction(level, ofTheDaemon))
  const outer = database.transaction(() => database.transaction(level), ofTheDaemon)
  const fails = () =>
    database.transaction(() => {
      throw new Error('It is rolled back.')
    }, ofTheDaemon)
  assert.throws(fails, /rolled back/)
  const after = database.transaction(level)

  assert.deepEqual([usual, light, inner, outer, after], [full, normal, full, normal, full])
})
