/**
 * Bringing a store to the newest form: each migration in one transaction that also writes its number and checksum, after a copy of
 * the whole store was made. A new store is made beside its place and renamed into it, so that a file at the place is always a whole
 * store.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { Database } from './database.ts'
import { APPLICATION_ID, type Migration, migrationDigest } from './migrations/migrations.ts'

export interface MigrateOptions {
  readonly migrations: readonly Migration[]
  /** The time of day, ISO 8601. */
  readonly now: () => string
}

/** Makes an empty store of the newest form at `path`, where there is none. Throws `store-unwritable`. */
export function createStore(path: string, options: MigrateOptions): void {
  const passing = `${path}.new`
  writing(path, () => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    for (const left of [passing, `${passing}-journal`]) rmSync(left, { force: true })
    closeSync(openSync(passing, 'wx', 0o600))
  })
  const database = new Database(passing, 'write')
  try {
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    migrate(database, 0, options)
  } finally {
    database.close()
  }
  writing(path, () => publish(passing, path))
}

/** Copies a store of form `version` to `PATH.before-NUMBER-TIME` and answers the copy's path. */
export function copyStore(path: string, options: { readonly next: number; readonly now: string }): string {
  const number = String(options.next).padStart(4, '0')
  const copy = `${path}.before-${number}-${options.now.replaceAll(/[^0-9TZ]/g, '')}`
  const passing = `${copy}.new`
  writing(path, () => {
    rmSync(passing, { force: true })
    closeSync(openSync(passing, 'wx', 0o600)) // VACUUM INTO takes an empty file that is there, and its mode.
  })
  const database = new Database(path, 'read')
  try {
    database.exec(`VACUUM INTO '${passing.replaceAll("'", "''")}'`)
  } finally {
    database.close()
  }
  writing(path, () => publish(passing, copy))
  return copy
}

/** Runs the migrations after `version`. Each is whole or not at all. */
export function migrate(database: Database, version: number, options: MigrateOptions): void {
  for (const migration of options.migrations) {
    if (migration.number <= version) continue
    database.transaction(() => {
      if (migration.number === 1)
        database.exec(
          'CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, at TEXT NOT NULL) STRICT',
        )
      database.exec(migration.sql)
      database.run(
        'INSERT INTO migrations (number, name, digest, at) VALUES (?, ?, ?, ?)',
        migration.number,
        migration.name,
        migrationDigest(migration),
        options.now(),
      )
      database.exec(`PRAGMA user_version = ${migration.number}`)
    })
  }
}

function publish(passing: string, path: string): void {
  sync(passing)
  renameSync(passing, path)
  sync(dirname(path))
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function writing(path: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new KvasirError(
      'store-unwritable',
      `The store ${path} cannot be written (${reason}), so it was not made.`,
      {
        details: { path },
        cause,
      },
    )
  }
}
