/** The migrations in order. A migration that was released is never edited; a change of the form is a new one. */
import { hash } from 'node:crypto'
import { first } from './0001-first.ts'
import { snapshots } from './0002-snapshots.ts'
import { pools } from './0003-pools.ts'
import { secrets } from './0004-secrets.ts'
import { networks } from './0005-networks.ts'

/** One step from a form of the store to the next; `number` is the `user_version` that it leads to. */
export interface Migration {
  readonly number: number
  readonly name: string
  readonly sql: string
}

export const migrations: readonly Migration[] = [first, snapshots, pools, secrets, networks]

/** Marks a SQLite file as a store of Kvasir: `KVAS`. */
export const APPLICATION_ID = 0x4b564153

/** The checksum of a migration, by which a store tells what it was migrated with. */
export function migrationDigest(migration: Migration): string {
  return hash('sha256', migration.sql)
}
