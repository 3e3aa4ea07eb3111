/**
 * Room for the store on a full disk, so that VMs can still be stopped and deleted then, and the daemon can be started.
 *
 * While a store is open its room lies inside it: SQLite writes over the blocks of a log that it has checkpointed, and fills free pages
 * of the file before it asks the file system for more. Closing gives up the log, so a reserve file beside the store is given back to
 * the file system when a store does not open for want of space.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { KvasirError } from '@kvasir/contract'
import type { Database } from './database.ts'

/** Makes room in an open store and beside it: `bytes` in the log and in the file each. On a full disk there is none to make. */
export function keepRoom(database: Database, bytes: number): void {
  try {
    database.transaction(() => {
      database.exec('CREATE TABLE IF NOT EXISTS room (bytes BLOB) STRICT')
      database.run('INSERT INTO room (bytes) VALUES (zeroblob(?))', bytes)
    })
    // Two transactions: pages that are freed in the one that filled them are never written.
    database.exec('DROP TABLE room')
    database.exec('PRAGMA wal_checkpoint(PASSIVE)')
  } catch (error) {
    if (!isUnwritable(error)) throw error
  }
  keepReserve(reservePath(database.path), 2 * bytes) // A log with its room, and the shared-memory index.
}

/** Opens a store by `open`, with the reserve given up when there is no space otherwise. */
export function openWithReserve<T>(path: string, open: () => T): T {
  try {
    return open()
  } catch (error) {
    if (!isUnwritable(error) || !existsSync(reservePath(path)) || !giveUp(reservePath(path))) throw error
    return open()
  }
}

function keepReserve(path: string, bytes: number): void {
  if (existsSync(path)) return
  try {
    writeFileSync(path, Buffer.alloc(bytes), { mode: 0o600 })
  } catch {
    rmSync(path, { force: true })
  }
}

function giveUp(path: string): boolean {
  try {
    rmSync(path)
    return true
  } catch {
    return false // The disk is read-only, and the first error says so.
  }
}

function reservePath(path: string): string {
  return `${path}.reserve`
}

function isUnwritable(error: unknown): boolean {
  return error instanceof KvasirError && error.code === 'store-unwritable'
}
