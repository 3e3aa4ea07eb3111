/**
 * Is this file a store that this daemon may open? Answered through a read-only connection, so that a store that is refused stays
 * byte for byte as it was.
 *
 * A store that was not closed has its newest transactions in `-wal`; SQLite reads them through a read-only connection too (it writes
 * only `-shm`, which holds nothing of its own).
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { Database } from './database.ts'
import { APPLICATION_ID, type Migration, migrationDigest } from './migrations/migrations.ts'

/** The form that the store at `path` has; 0 when there is none. Throws `store-damaged` or `store-too-new`. */
export function checkStore(path: string, migrations: readonly Migration[]): number {
  if (!existsSync(path)) {
    if (existsSync(`${path}-wal`))
      throw damaged(path, 'its write-ahead log is there but the file itself is not')
    return 0
  }
  if (statSync(path).size === 0) throw damaged(path, 'the file is empty')
  try {
    const database = new Database(path, hasLog(path) ? 'read' : 'immutable')
    try {
      return checkOpened(database, migrations)
    } finally {
      database.close()
    }
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'store-damaged' && error.cause instanceof Error)
      throw damaged(path, error.cause.message, error)
    throw error
  }
}

function hasLog(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
}

function checkOpened(database: Database, migrations: readonly Migration[]): number {
  const { path } = database
  const version = database.pragma('user_version')
  if (database.pragma('application_id') !== APPLICATION_ID || version < 1)
    throw damaged(path, 'it is a database of something else')
  const newest = migrations.at(-1)?.number ?? 0
  if (version > newest)
    throw new KvasirError(
      'store-too-new',
      `The store ${path} has form ${version} and this daemon knows forms up to ${newest}, so it does not start and has changed ` +
        `nothing. Install the newer Kvasir again${orCopy(path)}.`,
      { details: { path, version, newest } },
    )
  const findings = database.all('PRAGMA quick_check(5)').map((row) => String(row['quick_check']))
  if (findings[0] !== 'ok') throw damaged(path, findings.join('; '))
  const applied = database.all('SELECT number, digest FROM migrations ORDER BY number')
  const fits =
    applied.length === version &&
    applied.every((row, index) => {
      const migration = migrations[index]
      return (
        migration !== undefined &&
        row['number'] === migration.number &&
        row['digest'] === migrationDigest(migration)
      )
    })
  if (!fits) throw damaged(path, 'it was migrated by other migrations than those of this daemon')
  return version
}

function damaged(path: string, finding: string, cause?: unknown): KvasirError {
  return new KvasirError(
    'store-damaged',
    `The store ${path} is damaged (${finding}), so the daemon does not start and has changed nothing; running VMs go on. ` +
      `Keep the file, with its -wal beside it, and put a good copy in its place${orCopy(path)}; ` +
      `"sqlite3 ${path} .recover" writes out what can still be read.`,
    { details: { path, finding }, cause },
  )
}

function orCopy(path: string): string {
  const copies = storeCopies(path)
  const newest = copies.at(-1)
  return newest === undefined ? '' : ` or go back to the copy ${newest}`
}

/** The copies that were made before migrations, oldest first. */
function storeCopies(path: string): readonly string[] {
  const prefix = `${basename(path)}.before-`
  if (!existsSync(dirname(path))) return []
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && !name.endsWith('.new'))
    .sort()
    .map((name) => join(dirname(path), name))
}
