/**
 * Records that are read from sealed rows: each from its newest whole copy, so that a damaged row goes on as one of its last versions.
 *
 * What was read is remembered until it is written, a transaction is rolled back or another process changes the file: who looks at all
 * volumes for one of them reads no thousand rows.
 */
import type { KvasirError } from '@kvasir/contract'
import type { Database } from './database.ts'
import { type RowContent, type SealedRow, SealedRows, type SealedTable } from './sealed-rows.ts'

/** What a table's rows are. */
export interface RecordKind<Row> {
  readonly table: SealedTable
  /** The record that a row's content is; undefined for what is none. */
  readonly parse: (content: string) => Row | undefined
  /** What reading says of a row that has no whole copy. */
  readonly lost: (row: Pick<SealedRow, 'id' | 'name'>) => KvasirError
}

/** The records of a table. */
export class SealedRecords<Row extends { readonly id: string }> {
  readonly #database: Database
  readonly #rows: SealedRows
  readonly #kind: RecordKind<Row>
  readonly #remembered = new Map<string, Row>()
  #dataVersion: number

  constructor(database: Database, kind: RecordKind<Row>) {
    this.#database = database
    this.#kind = kind
    this.#rows = new SealedRows(database, kind.table)
    this.#dataVersion = database.dataVersion()
    database.onRollback(() => this.#remembered.clear())
  }

  /** All of them, by name. `store-damaged` for one that is lost. */
  list(): readonly Row[] {
    this.#forgetForeignChanges()
    return this.#rows.ids().flatMap((id) => this.#read(id) ?? [])
  }

  get(id: string): Row | undefined {
    this.#forgetForeignChanges()
    return this.#read(id)
  }

  findByName(name: string): Row | undefined {
    const id = this.idByName(name)
    return id === undefined ? undefined : this.get(id)
  }

  idByName(name: string): string | undefined {
    return this.#rows.idByName(name)
  }

  insert(row: RowContent): void {
    this.#rows.insert(row)
  }

  /** Writes a row anew; false when there is none. */
  update(row: RowContent): boolean {
    this.#remembered.delete(row.id)
    return this.#rows.update(row)
  }

  remove(id: string): void {
    this.#remembered.delete(id)
    this.#rows.remove(id)
  }

  #forgetForeignChanges(): void {
    const now = this.#database.dataVersion()
    if (now === this.#dataVersion) return
    this.#dataVersion = now
    this.#remembered.clear()
  }

  #read(id: string): Row | undefined {
    const known = this.#remembered.get(id)
    if (known !== undefined) return known
    const row = this.#rows.get(id)
    if (row === undefined) return undefined
    const record = (row.intact ? this.#recordOf(row) : undefined) ?? this.#fromHistory(id)
    if (record === undefined) throw this.#kind.lost(row)
    this.#remembered.set(id, record)
    return record
  }

  #fromHistory(id: string): Row | undefined {
    for (const { content } of this.#rows.history(id)) {
      const record = this.#recordOf({ id, content })
      if (record !== undefined) return record
    }
    return undefined
  }

  #recordOf({ id, content }: Pick<SealedRow, 'id' | 'content'>): Row | undefined {
    const record = this.#kind.parse(content)
    return record?.id === id ? record : undefined
  }
}
