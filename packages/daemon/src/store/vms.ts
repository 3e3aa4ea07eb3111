/**
 * The rows of VMs.
 *
 * A row that cannot be read back is `damaged`, never absent. Parsed rows are remembered until they are written, a transaction is
 * rolled back or another process changes the file, so that listing does not parse.
 */
import { KvasirError, resourceName } from '@kvasir/contract'
import type { Store, VmRecord, VmRow } from '../ports/store.ts'
import { decodeVmRecord, encodeVmRecord } from '../ports/vm-record.ts'
import type { Database } from './database.ts'
import { type SealedRow, SealedRows } from './sealed-rows.ts'

/** The repository of VM rows. */
export function vmRows(database: Database): Store['vms'] {
  const rows = new SealedRows(database, 'vms')
  const remembered = new Map<string, VmRow>()
  let dataVersion = database.dataVersion()
  database.onRollback(() => remembered.clear())

  const forgetForeignChanges = () => {
    const now = database.dataVersion()
    if (now === dataVersion) return
    dataVersion = now
    remembered.clear()
  }
  const read = (id: string): VmRow | undefined => {
    const known = remembered.get(id)
    if (known !== undefined) return known
    const row = rows.get(id)
    if (row === undefined) return undefined
    const parsed = parseRow(row)
    remembered.set(id, parsed)
    return parsed
  }
  const refuseTakenName = (record: VmRecord) => {
    const holder = rows.idByName(record.name)
    if (holder !== undefined && holder !== record.id)
      throw new KvasirError(
        'name-taken',
        `There is a VM named ${record.name}, so the name cannot be given again.`,
      )
  }

  return {
    list() {
      forgetForeignChanges()
      return rows.ids().flatMap((id) => read(id) ?? [])
    },
    get(id) {
      forgetForeignChanges()
      return read(id)
    },
    findByName(name) {
      forgetForeignChanges()
      const id = rows.idByName(name)
      return id === undefined ? undefined : read(id)
    },
    insert(record) {
      database.transaction(() => {
        refuseTakenName(record)
        rows.insert(asRow(record))
      })
    },
    update(record, expectedRevision) {
      database.transaction(() => {
        refuseTakenName(record)
        if (expectedRevision !== undefined) refuseOtherRevision(rows.get(record.id), record, expectedRevision)
        remembered.delete(record.id)
        if (!rows.update(asRow(record)))
          throw new KvasirError('vm-not-found', `There is no VM ${record.name}, so it was not changed.`)
      })
    },
    remove(id) {
      remembered.delete(id)
      rows.remove(id)
    },
    lastGood: (id) => lastGood(rows, id),
  }
}

function refuseOtherRevision(stored: SealedRow | undefined, record: VmRecord, expected: number): void {
  if (stored === undefined || stored.revision === expected) return
  throw new KvasirError(
    'revision-mismatch',
    `VM ${record.name} is at revision ${stored.revision}, not ${expected}, so the change was not made.`,
    { details: { revision: stored.revision, expectedRevision: expected } },
  )
}

function asRow(record: VmRecord) {
  return {
    id: record.id,
    name: record.name,
    revision: record.revision,
    content: encodeVmRecord(record),
  }
}

function parseRow(row: SealedRow): VmRow {
  const damaged = (reason: string): VmRow => ({
    kind: 'damaged',
    id: row.id,
    name: resourceName.safeParse(row.name).success ? row.name : undefined,
    reason,
  })
  if (!row.intact) return damaged('its checksum differs')
  const decoded = decodeVmRecord(row.content)
  if (decoded.kind === 'unreadable') return damaged(decoded.reason)
  const { record } = decoded
  if (record.id !== row.id || record.name !== row.name || record.revision !== row.revision)
    return damaged('its columns differ from its content')
  return { kind: 'vm', record }
}

/**
 * An older version may be from before the VM was whole or from before it was to go: its journal is not acted upon. Nor is its saved
 * memory, which may have been loaded since: loading it twice would damage the disks.
 */
function lastGood(rows: SealedRows, id: string): VmRecord | undefined {
  const present = rows.get(id)?.version
  for (const { version, content } of rows.history(id)) {
    const decoded = decodeVmRecord(content)
    if (decoded.kind === 'unreadable' || decoded.record.id !== id) continue
    const { record } = decoded
    return {
      ...record,
      ...(version === present ? {} : { phase: 'ready', intent: 'none', saved: undefined }),
      life: { state: 'unknown', reason: 'its row in the store is damaged', since: record.life.since },
      run: undefined,
    }
  }
  return undefined
}
