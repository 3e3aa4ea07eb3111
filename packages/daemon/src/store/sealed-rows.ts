/**
 * Rows whose content is JSON under a checksum, with the last versions kept beside them.
 *
 * The checksum covers id, version and content, so that a flipped bit and a row that took another's place are both noticed. Every
 * write puts the same version into the history as well: when one copy is damaged the other is still whole.
 *
 * Not here: what the content means (vms.ts, volumes.ts, snapshots.ts, pools.ts, secrets.ts, networks.ts).
 */
import { hash } from 'node:crypto'
import type { Database, SqlRow } from './database.ts'

/** Versions of a row that the history keeps, the present one included. */
const KEPT_VERSIONS = 5

/** A row as it lies in the table. */
export interface SealedRow {
  readonly id: string
  readonly name: string
  readonly revision: number
  readonly version: number
  readonly content: string
  /** Whether the checksum fits. */
  readonly intact: boolean
}

export interface SealedVersion {
  readonly version: number
  readonly content: string
}

export interface RowContent {
  readonly id: string
  readonly name: string
  readonly revision: number
  readonly content: string
}

/** The tables that have this form, each with a history. */
export type SealedTable = 'vms' | 'volumes' | 'snapshots' | 'pools' | 'secrets' | 'networks'

/** A table of sealed rows and its history. */
export class SealedRows {
  readonly #database: Database
  readonly #table: SealedTable

  constructor(database: Database, table: SealedTable) {
    this.#database = database
    this.#table = table
  }

  /** The ids of all rows, by name. */
  ids(): readonly string[] {
    return this.#database.all(`SELECT id FROM ${this.#table} ORDER BY name`).map((row) => String(row['id']))
  }

  get(id: string): SealedRow | undefined {
    const row = this.#database.get(`SELECT * FROM ${this.#table} WHERE id = ?`, id)
    return row && sealedRow(row)
  }

  idByName(name: string): string | undefined {
    const row = this.#database.get(`SELECT id FROM ${this.#table} WHERE name = ?`, name)
    return row && String(row['id'])
  }

  insert(row: RowContent): void {
    this.#database.transaction(() => {
      this.#database.run(
        `INSERT INTO ${this.#table} (id, name, revision, version, content, digest) VALUES (?, ?, ?, 1, ?, ?)`,
        row.id,
        row.name,
        row.revision,
        row.content,
        seal(row.id, 1, row.content),
      )
      this.#remember(row, 1)
    })
  }

  /** Writes a row anew; false when there is none. */
  update(row: RowContent): boolean {
    return this.#database.transaction(() => {
      const stored = this.#database.get(`SELECT version FROM ${this.#table} WHERE id = ?`, row.id)
      if (stored === undefined) return false
      const version = this.#nextVersion(row.id, Number(stored['version']))
      this.#database.run(
        `UPDATE ${this.#table} SET name = ?, revision = ?, version = ?, content = ?, digest = ? WHERE id = ?`,
        row.name,
        row.revision,
        version,
        row.content,
        seal(row.id, version, row.content),
        row.id,
      )
      this.#remember(row, version)
      return true
    })
  }

  remove(id: string): void {
    this.#database.transaction(() => this.#database.run(`DELETE FROM ${this.#table} WHERE id = ?`, id))
  }

  /** The intact versions of a row, newest first. */
  history(id: string): readonly SealedVersion[] {
    return this.#database
      .all(`SELECT * FROM ${this.#table}_history WHERE id = ? ORDER BY version DESC`, id)
      .map(sealedRow)
      .filter((row) => row.intact)
  }

  /** The version number itself may be damaged: the new one is above all that the history knows. */
  #nextVersion(id: string, stored: number): number {
    const row = this.#database.get(
      `SELECT max(version) AS newest FROM ${this.#table}_history WHERE id = ?`,
      id,
    )
    const newest = Number(row?.['newest'] ?? 0)
    return stored === newest ? stored + 1 : newest + 1
  }

  #remember(row: RowContent, version: number): void {
    const table = `${this.#table}_history`
    this.#database.run(
      `INSERT INTO ${table} (id, version, content, digest) VALUES (?, ?, ?, ?)`,
      row.id,
      version,
      row.content,
      seal(row.id, version, row.content),
    )
    this.#database.run(`DELETE FROM ${table} WHERE id = ? AND version <= ?`, row.id, version - KEPT_VERSIONS)
  }
}

function sealedRow(row: SqlRow): SealedRow {
  const id = String(row['id'])
  const version = Number(row['version'])
  const content = String(row['content'])
  const digest = row['digest']
  return {
    id,
    name: typeof row['name'] === 'string' ? row['name'] : '',
    revision: Number(row['revision'] ?? 0),
    version,
    content,
    intact: digest instanceof Uint8Array && seal(id, version, content).equals(digest),
  }
}

function seal(id: string, version: number, content: string): Buffer {
  return hash('sha256', `${id}\n${version}\n${content}`, 'buffer')
}
