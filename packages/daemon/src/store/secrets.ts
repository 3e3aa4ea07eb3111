/**
 * The rows of secrets, which never hold what a secret is. A damaged row is read from its newest whole copy; when there is none,
 * reading says `store-damaged`: a pool or a volume may need the file that it stands for.
 */
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { SecretRecord, Store } from '../ports/store.ts'
import type { Database } from './database.ts'
import { SealedRows } from './sealed-rows.ts'

const secretContent = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  phase: z.enum(['creating', 'ready', 'deleting']),
  createdAt: z.string(),
})

/** The repository of the rows of secrets. */
export function secretRows(database: Database): Store['secrets'] {
  const rows = new SealedRows(database, 'secrets')
  const read = (id: string): SecretRecord | undefined => {
    const row = rows.get(id)
    if (row === undefined) return undefined
    const copies = row.intact ? [row, ...rows.history(id)] : rows.history(id)
    for (const copy of copies) {
      const record = parseSecret(copy.content)
      if (record?.id === id) return record
    }
    throw new KvasirError(
      'store-damaged',
      `The row of secret ${row.name} (${id}) is damaged in all its copies, so secrets cannot be listed; its file is untouched.`,
      { details: { secret: id } },
    )
  }

  return {
    list: () => rows.ids().flatMap((id) => read(id) ?? []),
    get: read,
    findByName(name) {
      const id = rows.idByName(name)
      return id === undefined ? undefined : read(id)
    },
    insert(record) {
      database.transaction(() => {
        if (rows.idByName(record.name) !== undefined)
          throw new KvasirError(
            'name-taken',
            `There is a secret ${record.name} already, so no other one can have that name.`,
          )
        rows.insert(asRow(record))
      })
    },
    update(record) {
      if (!rows.update(asRow(record)))
        throw new KvasirError('secret-not-found', `There is no secret ${record.name}, so it was not changed.`)
    },
    remove: (id) => rows.remove(id),
  }
}

function asRow(record: SecretRecord) {
  return { id: record.id, name: record.name, revision: 0, content: JSON.stringify(record) }
}

function parseSecret(content: string): SecretRecord | undefined {
  try {
    return secretContent.parse(JSON.parse(content))
  } catch {
    return undefined
  }
}
