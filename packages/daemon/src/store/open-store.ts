/**
 * The store, opened: checked without being touched, copied and migrated where its form is older, then written through one connection
 * with a write-ahead log in which every commit is synced before it is told.
 */
import { KvasirError } from '@kvasir/contract'
import type { Store } from '../ports/store.ts'
import { checkStore } from './check-store.ts'
import { Database } from './database.ts'
import { type EventRetention, eventRows } from './events.ts'
import { idempotencyRows } from './idempotency.ts'
import { imageNameRows } from './image-names.ts'
import { jobRows } from './jobs.ts'
import { copyStore, createStore, migrate } from './migrate.ts'
import { type Migration, migrations as ourMigrations } from './migrations/migrations.ts'
import { networkRows } from './networks.ts'
import { poolRows } from './pools.ts'
import { keepRoom, openWithReserve } from './room.ts'
import { secretRows } from './secrets.ts'
import { snapshotRows } from './snapshots.ts'
import { defaultUidRange, type UidRange, uidRows } from './uids.ts'
import { vmRows } from './vms.ts'
import { volumeRows } from './volumes.ts'

export interface StoreOptions {
  /** The file, usually `<stateDir>/kvasir.db`; its directory is made when missing. */
  readonly path: string
  /** The time of day, ISO 8601. */
  readonly now: () => string
  readonly events?: EventRetention
  /** How many ended jobs are kept. */
  readonly endedJobs?: number
  readonly uidRange?: UidRange
  /** What the log and the file each keep for a full disk; tests that open many stores take less. */
  readonly roomBytes?: number
  /** For tests of migrating. */
  readonly migrations?: readonly Migration[]
}

/** The log is cut back to this size after a large transaction; above the room, below a surprise. */
const LOG_LIMIT_BYTES = 16 * 1024 * 1024

const defaults = {
  events: { kept: 100_000, batch: 1_000 },
  endedJobs: 1_000,
  idempotentAnswers: 10_000,
  roomBytes: 4 * 1024 * 1024,
} as const

/** Opens the store, making it when there is none. Throws `store-damaged`, `store-too-new` or `store-unwritable`. */
export function openStore(options: StoreOptions): Store {
  const { path, now } = options
  const migrations = options.migrations ?? ourMigrations
  const newest = migrations.at(-1)?.number ?? 0

  const version = openWithReserve(path, () => checkStore(path, migrations))
  if (version === 0) createStore(path, { migrations, now })
  const copy =
    version > 0 && version < newest ? copyStore(path, { next: version + 1, now: now() }) : undefined

  const database = openWithReserve(path, () => openForWriting(path))
  try {
    if (copy !== undefined) migrateOpened(database, { version, copy, migrations, now })
    keepRoom(database, options.roomBytes ?? defaults.roomBytes)
    return repositories(database, options)
  } catch (error) {
    database.close()
    throw error
  }
}

function openForWriting(path: string): Database {
  const database = new Database(path, 'write')
  try {
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA trusted_schema = OFF;
      PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = ${LOG_LIMIT_BYTES}`)
    database.get('SELECT count(*) FROM migrations') // Makes the log and its index, for which there may be no space.
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function repositories(database: Database, options: StoreOptions): Store {
  return {
    transaction: (work, options) => database.transaction(work, options),
    vms: vmRows(database),
    volumes: volumeRows(database),
    snapshots: snapshotRows(database),
    pools: poolRows(database),
    secrets: secretRows(database),
    networks: networkRows(database),
    imageNames: imageNameRows(database),
    jobs: jobRows(database, options.endedJobs ?? defaults.endedJobs),
    events: eventRows(database, options.events ?? defaults.events),
    uids: uidRows(database, options.uidRange ?? defaultUidRange),
    idempotency: idempotencyRows(database, { kept: defaults.idempotentAnswers, now: options.now }),
    close: () => database.close(),
  }
}

function migrateOpened(
  database: Database,
  options: { version: number; copy: string; migrations: readonly Migration[]; now: () => string },
): void {
  try {
    migrate(database, options.version, options)
  } catch (cause) {
    if (cause instanceof KvasirError) throw cause
    throw new KvasirError(
      'internal',
      `A migration of the store ${database.path} does not work, so the daemon does not start; the migration was undone, and the ` +
        `store as it was lies in ${options.copy} too.`,
      { cause },
    )
  }
}
