/** A store of a test's own, in a directory that goes with the test. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { TestContext } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { openStore, type StoreOptions } from '../open-store.ts'
import { sampleNow, sampleRoomBytes } from './records.ts'

/** Opens a new store, and the way to damage it. */
export async function newStore(t: TestContext, options: Partial<StoreOptions> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-store-'))
  const path = join(directory, 'kvasir.db')
  const store = openStore({ path, now: sampleNow, roomBytes: sampleRoomBytes, ...options })
  t.after(async () => {
    store.close()
    await rm(directory, { recursive: true, force: true })
  })
  /** What somebody else does to the file behind the daemon's back. */
  const damage = (sql: string) => {
    const other = new DatabaseSync(path)
    other.exec(sql)
    other.close()
  }
  return { store, path, damage }
}

/** Matches a refusal by its code and sentence. */
export function refusedWith(code: ErrorCode, pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}
