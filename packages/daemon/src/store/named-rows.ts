/**
 * Rows that have a name each, which no two share, such as pools and secrets. A damaged row is read from its newest whole copy; when there
 * is none, reading says `store-damaged`: what a row stood for that others need is nobody's guess.
 */
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import type { Database } from './database.ts'
import { SealedRecords } from './sealed-records.ts'
import type { SealedTable } from './sealed-rows.ts'

/** What such rows are. */
export interface NamedKind<Row> {
  readonly table: SealedTable
  /** What one is called, and also its key in the details of an error. */
  readonly noun: string
  readonly notFound: ErrorCode
  /** The end of the sentence about a row that is lost: what of it is not. */
  readonly remains: string
  /** The record that a row's content is; undefined for what is none. */
  readonly parse: (content: unknown) => Row | undefined
}

interface Named {
  readonly id: string
  readonly name: string
}

/** The repository of rows of a kind. */
export function namedRows<Row extends Named>(
  database: Database,
  { table, noun, notFound, remains, parse }: NamedKind<Row>,
) {
  const rows = new SealedRecords<Row>(database, {
    table,
    parse: (content) => parseText(content, parse),
    lost: ({ id, name }) =>
      new KvasirError(
        'store-damaged',
        `The row of ${noun} ${name} (${id}) is damaged in all its copies, so ${noun}s cannot be listed; ${remains} untouched.`,
        { details: { [noun]: id } },
      ),
  })

  return {
    list: () => rows.list(),
    get: (id: string) => rows.get(id),
    findByName: (name: string) => rows.findByName(name),
    /** `name-taken` when there is one of that name. */
    insert(record: Row) {
      database.transaction(() => {
        if (rows.idByName(record.name) !== undefined)
          throw new KvasirError(
            'name-taken',
            `There is a ${noun} ${record.name} already, so no other one can have that name.`,
          )
        rows.insert(asRow(record))
      })
    },
    update(record: Row) {
      if (!rows.update(asRow(record)))
        throw new KvasirError(notFound, `There is no ${noun} ${record.name}, so it was not changed.`)
    },
    remove: (id: string) => rows.remove(id),
  }
}

function asRow(record: Named) {
  return { id: record.id, name: record.name, revision: 0, content: JSON.stringify(record) }
}

function parseText<Row>(text: string, parse: NamedKind<Row>['parse']): Row | undefined {
  try {
    return parse(JSON.parse(text))
  } catch {
    return undefined // Not JSON.
  }
}
