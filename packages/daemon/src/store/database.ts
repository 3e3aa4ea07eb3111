/**
 * The connection to the store's SQLite file: the only module that touches `node:sqlite`.
 *
 * A write happens inside `transaction` or not at all. A write that fails rolls back everything up to the outermost transaction and
 * is told as `store-unwritable`; what SQLite cannot read is told as `store-damaged`. After a failure the connection goes on working:
 * the next transaction succeeds as soon as the disk lets it.
 *
 * POSIX locks die when any descriptor of the file is closed in the same process (https://sqlite.org/howtocorrupt.html, 2.2): nothing
 * in the daemon opens the file by other means while a connection is open.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { KvasirError } from '@kvasir/contract'
import type { Durability } from '../ports/store.ts'

/** Values as they go into SQLite and come out of it. */
export type SqlValue = null | number | string | Uint8Array
export type SqlRow = Readonly<Record<string, unknown>>

/** How long a statement waits for a lock that another process holds (an operator's `sqlite3`, say). */
const BUSY_TIMEOUT_MS = 2_000

/** Result codes of SQLite (https://sqlite.org/rescode.html). */
const SQLITE = {
  CORRUPT: 11,
  NOTADB: 26,
  IOERR_READ: 266,
  IOERR_SHORT_READ: 522,
  IOERR_DATA: 8202,
  IOERR_CORRUPTFS: 8458,
} as const

const DAMAGE: ReadonlySet<number> = new Set([
  SQLITE.IOERR_READ,
  SQLITE.IOERR_SHORT_READ,
  SQLITE.IOERR_DATA,
  SQLITE.IOERR_CORRUPTFS,
])

/** One open connection. Statements are prepared once each. */
export class Database {
  readonly path: string
  readonly #connection: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #rollbackListeners: (() => void)[] = []
  #depth = 0
  #outlives: Durability['outlives'] | undefined
  #doom: KvasirError | undefined

  /**
   * Opens the file at `path`, which must exist but for `write`. `immutable` reads a file without a write-ahead log and leaves not
   * even an empty one beside it.
   */
  constructor(path: string, mode: 'immutable' | 'read' | 'write') {
    const location = pathToFileURL(path)
    if (mode === 'immutable') location.searchParams.set('immutable', '1')
    this.path = path
    this.#connection = guarded(
      path,
      () =>
        new DatabaseSync(location, {
          readOnly: mode !== 'write',
          timeout: BUSY_TIMEOUT_MS,
          defensive: true,
          enableForeignKeyConstraints: true,
          enableDoubleQuotedStringLiterals: false,
        }),
    )
  }

  /** All rows of a query. */
  all(sql: string, ...values: SqlValue[]): readonly SqlRow[] {
    return this.#guarded(() => this.#prepare(sql).all(...values))
  }

  /** The first row of a query. */
  get(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    return this.#guarded(() => this.#prepare(sql).get(...values))
  }

  /** Runs a statement that writes; only inside a transaction. Answers how many rows it changed. */
  run(sql: string, ...values: SqlValue[]): number {
    if (this.#depth === 0) throw new TypeError('A write to the store needs a transaction.')
    if (this.#doom !== undefined) throw this.#doom
    return this.#guarded(() => Number(this.#prepare(sql).run(...values).changes))
  }

  /** Runs SQL text that is not worth preparing: pragmas and migrations. */
  exec(sql: string): void {
    this.#guarded(() => this.#connection.exec(sql))
  }

  /**
   * Runs `work` as one transaction. Nested calls are parts of the outermost one: an exception undoes the part that it leaves, and
   * everything when it leaves the outermost, which says what the whole outlives.
   */
  transaction<T>(work: () => T, { outlives }: Durability = { outlives: 'host' }): T {
    if (this.#doom !== undefined) throw this.#doom
    const outermost = this.#depth === 0
    const savepoint = `part${this.#depth}`
    if (outermost) this.#setDurability(outlives)
    this.exec(outermost ? 'BEGIN IMMEDIATE' : `SAVEPOINT ${savepoint}`)
    this.#depth++
    try {
      const result = work()
      if (result instanceof Promise) throw new TypeError('A transaction of the store does not wait.')
      if (this.#doom !== undefined) throw this.#doom
      this.exec(outermost ? 'COMMIT' : `RELEASE ${savepoint}`)
      return result
    } catch (error) {
      if (this.#connection.isTransaction)
        this.#connection.exec(outermost ? 'ROLLBACK' : `ROLLBACK TO ${savepoint}; RELEASE ${savepoint}`)
      for (const listener of this.#rollbackListeners) listener()
      throw error
    } finally {
      this.#depth--
      if (outermost) this.#doom = undefined
    }
  }

  /** Tells of every rollback, so that what was remembered of the rolled-back rows can be forgotten. */
  onRollback(listener: () => void): void {
    this.#rollbackListeners.push(listener)
  }

  /** A number that changes when another connection has changed the file. */
  dataVersion(): number {
    return Number(this.get('PRAGMA data_version')?.['data_version'])
  }

  /** The whole number that a pragma such as `user_version` answers. */
  pragma(name: 'user_version' | 'application_id' | 'freelist_count' | 'page_size'): number {
    return Number(this.get(`PRAGMA ${name}`)?.[name])
  }

  close(): void {
    this.#statements.clear()
    if (this.#connection.isOpen) this.#connection.close()
  }

  /** With a write-ahead log, NORMAL waits for no commit and FULL for each, those before it included (https://sqlite.org/pragma.html). */
  #setDurability(outlives: Durability['outlives']): void {
    if (outlives === this.#outlives) return
    this.exec(`PRAGMA synchronous = ${outlives === 'host' ? 'FULL' : 'NORMAL'}`)
    this.#outlives = outlives
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#connection.prepare(sql)
    this.#statements.set(sql, statement)
    return statement
  }

  /** SQLite ends the transaction by itself on some errors; what is left of it must then not go on as if it stood. */
  #guarded<T>(work: () => T): T {
    const wasOpen = this.#connection.isTransaction
    try {
      return guarded(this.path, work)
    } catch (error) {
      if (wasOpen && !this.#connection.isTransaction && error instanceof KvasirError) this.#doom = error
      throw error
    }
  }
}

function guarded<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw translate(path, error)
  }
}

function translate(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('errcode' in error)) return error
  const code = Number(error.errcode)
  const primary = code & 0xff
  if (primary === SQLITE.CORRUPT || primary === SQLITE.NOTADB || DAMAGE.has(code))
    return new KvasirError('store-damaged', `The store ${path} is damaged, so it cannot be read in full.`, {
      cause: error,
    })
  const isOwnMistake = primary === 1 || primary === 19 || primary === 20 || primary === 21 || primary === 25
  if (isOwnMistake) return error
  return new KvasirError(
    'store-unwritable',
    `The store ${path} cannot be written (${error.message}), so nothing was changed.`,
    { details: { path, sqliteCode: code }, cause: error },
  )
}
