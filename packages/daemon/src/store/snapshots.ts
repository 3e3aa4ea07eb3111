/**
 * The rows of snapshots. A damaged row is read from its newest whole copy; when there is none, reading says `store-damaged` rather than
 * leaving the snapshot out, since its layers would look like ones to remove.
 */
import { KvasirError } from '@kvasir/contract'
import { decodeSnapshot, type SnapshotRecord } from '../ports/snapshot-record.ts'
import type { Store } from '../ports/store.ts'
import type { Database } from './database.ts'
import { SealedRecords } from './sealed-records.ts'

/** The repository of snapshot rows. */
export function snapshotRows(database: Database): Store['snapshots'] {
  const rows = new SealedRecords<SnapshotRecord>(database, {
    table: 'snapshots',
    parse: decodeSnapshot,
    lost: ({ id }) =>
      new KvasirError(
        'store-damaged',
        `The row of snapshot ${id} is damaged in all its copies, so snapshots cannot be listed; its layers are untouched.`,
        { details: { snapshot: id } },
      ),
  })
  const all = () =>
    rows.list().toSorted((a, b) => (a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : 0))

  return {
    list: all,
    ofVm: (vmId) => all().filter((record) => record.vmId === vmId),
    get: (id) => rows.get(id),
    insert(record) {
      database.transaction(() => {
        if (rows.idByName(nameOf(record)) !== undefined)
          throw new KvasirError(
            'name-taken',
            `The VM has a snapshot named ${record.name}, so the name cannot be given again.`,
          )
        rows.insert(asRow(record))
      })
    },
    update(record) {
      if (rows.update(asRow(record))) return
      throw new KvasirError(
        'snapshot-not-found',
        `There is no snapshot ${record.name}, so it was not changed.`,
      )
    },
    remove: (id) => rows.remove(id),
  }
}

function nameOf(record: SnapshotRecord): string {
  return `${record.vmId}/${record.name}`
}

function asRow(record: SnapshotRecord) {
  return { id: record.id, name: nameOf(record), revision: 0, content: JSON.stringify(record) }
}
