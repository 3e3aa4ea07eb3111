/**
 * The rows of pools. A damaged row is read from its newest whole copy; when there is none, reading says `store-damaged`: what the
 * volumes of a forgotten pool are is nobody's guess.
 */
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { PoolRecord, Store } from '../ports/store.ts'
import type { Database } from './database.ts'
import { lvmSources } from './lvm-sources.ts'
import { rbdSource } from './rbd-sources.ts'
import { SealedRows } from './sealed-rows.ts'
import { serverSources } from './server-sources.ts'

const poolContent = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  source: z.discriminatedUnion('type', [
    z.object({ type: z.literal('dir'), path: z.string().optional() }),
    ...lvmSources,
    ...serverSources,
    rbdSource,
  ]),
  autostart: z.boolean(),
  started: z.boolean(),
  bootId: z.string(),
  phase: z.enum(['creating', 'ready', 'deleting']),
  removesData: z.boolean(),
  createdAt: z.string(),
})

/** The repository of pool rows. */
export function poolRows(database: Database): Store['pools'] {
  const rows = new SealedRows(database, 'pools')
  const read = (id: string): PoolRecord | undefined => {
    const row = rows.get(id)
    if (row === undefined) return undefined
    const copies = row.intact ? [row, ...rows.history(id)] : rows.history(id)
    for (const copy of copies) {
      const record = parsePool(copy.content)
      if (record?.id === id) return record
    }
    throw new KvasirError(
      'store-damaged',
      `The row of pool ${row.name} (${id}) is damaged in all its copies, so pools cannot be listed; what lies in it is untouched.`,
      { details: { pool: id } },
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
            `There is a pool ${record.name} already, so no other one can have that name.`,
          )
        rows.insert(asRow(record))
      })
    },
    update(record) {
      if (!rows.update(asRow(record)))
        throw new KvasirError('pool-not-found', `There is no pool ${record.name}, so it was not changed.`)
    },
    remove: (id) => rows.remove(id),
  }
}

function asRow(record: PoolRecord) {
  return { id: record.id, name: record.name, revision: 0, content: JSON.stringify(record) }
}

function parsePool(content: string): PoolRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch {
    return undefined
  }
  const parsed = poolContent.safeParse(value)
  if (!parsed.success) return undefined
  const { source, ...rest } = parsed.data
  if (source.type === 'dir') return { ...rest, source: { type: source.type, path: source.path } }
  if (source.type === 'lvm') return { ...rest, source }
  if (source.type === 'lvm-thin') return { ...rest, source: { ...source, sizeBytes: source.sizeBytes } }
  if (source.type === 'iscsi')
    return { ...rest, source: { ...source, user: source.user, secretId: source.secretId } }
  const { namespace, secretId } = source
  return { ...rest, source: { ...source, namespace, secretId } }
}
