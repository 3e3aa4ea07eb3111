/**
 * The rows of volumes. A damaged row is read from its newest whole copy; when there is none, reading says `store-damaged` rather than
 * leaving the volume out, since a file without a row looks like one to remove.
 */
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { Store, VolumeRecord } from '../ports/store.ts'
import type { Database } from './database.ts'
import { SealedRecords } from './sealed-records.ts'

const volumeContent = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  pool: z.string(),
  liesIn: z.string().min(1).optional(),
  file: z.string().optional(),
  work: z
    .enum([
      'resized',
      'cloned',
      'converted',
      'checked',
      'repaired',
      'moved',
      'flattened',
      'wiped',
      'downloaded',
      'uploaded',
      'exported',
      'filled',
    ])
    .optional(),
  move: z
    .object({
      vmId: z.string(),
      disk: z.string(),
      fromId: z.string(),
      keep: z.boolean(),
      into: z.boolean().optional(),
      isGivenUp: z.boolean().optional(),
      layerOf: z.string().optional(),
      clonesId: z.string().optional(),
      exports: z.boolean().optional(),
      scratch: z.boolean().optional(),
    })
    .optional(),
  format: z.enum(['qcow2', 'raw']),
  capacityBytes: z.int().nonnegative(),
  encryption: z.object({ secretId: z.string().min(1) }).optional(),
  imageId: z.string().optional(),
  baseId: z.string().optional(),
  originId: z.string().optional(),
  clonedFromId: z.string().optional(),
  phase: z.enum(['creating', 'uploading', 'ready', 'deleting']),
  upload: z
    .object({
      format: z.enum(['qcow2', 'raw']),
      sizeBytes: z.int().nonnegative(),
      offsetBytes: z.int().nonnegative(),
      restFrom: z.int().nonnegative().optional(),
      fingerprint: z.string().optional(),
      expiresAt: z.string().optional(),
    })
    .optional(),
  madeForVm: z.string().optional(),
  notesOf: z.string().min(1).optional(),
  frozen: z.boolean(),
  createdAt: z.string(),
})

/** The repository of volume rows. */
export function volumeRows(database: Database): Store['volumes'] {
  const rows = new SealedRecords<VolumeRecord>(database, {
    table: 'volumes',
    parse: parseVolume,
    lost: ({ id, name }) =>
      new KvasirError(
        'store-damaged',
        `The row of volume ${name} (${id}) is damaged in all its copies, so volumes cannot be listed; its file is untouched.`,
        { details: { volume: id } },
      ),
  })
  let noteLost = (_id: string): void => {}
  const refuseTakenName = (record: VolumeRecord) => {
    const holder = rows.idByName(keyOf(record.pool, record.name))
    if (holder !== undefined && holder !== record.id)
      throw new KvasirError(
        'name-taken',
        `There is a volume ${record.name} in pool ${record.pool}, so the name cannot be given again.`,
      )
  }

  return {
    list: () => rows.list(),
    get: (id) => rows.get(id),
    find: (pool, name) => rows.findByName(keyOf(pool, name)),
    insert(record) {
      database.transaction(() => {
        refuseTakenName(record)
        rows.insert(asRow(withNotes(record, undefined)))
      })
    },
    update(record) {
      database.transaction(() => {
        refuseTakenName(record)
        const before = rows.get(record.id)
        const notesOf = keepsNotes(before, record) ? before?.notesOf : undefined
        if (!rows.update(asRow(withNotes(record, notesOf))))
          throw new KvasirError(
            'volume-not-found',
            `There is no volume ${record.name}, so it was not changed.`,
          )
        if (before?.notesOf !== undefined && notesOf === undefined) noteLost(record.id)
      })
    },
    setNotesOf(id, vmId) {
      database.transaction(() => {
        const now = rows.get(id)
        if (now && now.notesOf !== vmId) rows.update(asRow(withNotes(now, vmId)))
      })
    },
    remove(id) {
      const had = rows.get(id)?.notesOf !== undefined
      rows.remove(id)
      if (had) noteLost(id)
    },
    onNotesLost(listener) {
      noteLost = listener
    },
  }
}

/** What is done to a volume without writing to it. */
const reading: ReadonlySet<VolumeRecord['work']> = new Set([
  undefined,
  'cloned',
  'converted',
  'checked',
  'downloaded',
  'exported',
])

/**
 * Whether what was noted of a volume before is still all that changed. Here, since every change of a volume's contents writes its row
 * first, and one that were forgotten elsewhere would make a wrong increment.
 */
function keepsNotes(before: VolumeRecord | undefined, now: VolumeRecord): boolean {
  if (before?.notesOf === undefined || now.notesOf !== before.notesOf) return false
  if (now.phase !== 'ready' || now.frozen || now.move !== undefined || !reading.has(now.work)) return false
  return (
    now.capacityBytes === before.capacityBytes && now.format === before.format && now.file === before.file
  )
}

function withNotes(record: VolumeRecord, notesOf: string | undefined): VolumeRecord {
  const { notesOf: _, ...rest } = record
  return notesOf === undefined ? rest : { ...rest, notesOf }
}

/** Neither name can hold a slash. */
function keyOf(pool: string, name: string): string {
  return `${pool}/${name}`
}

function asRow(record: VolumeRecord) {
  return {
    id: record.id,
    name: keyOf(record.pool, record.name),
    revision: 0,
    content: JSON.stringify(record),
  }
}

function parseVolume(content: string): VolumeRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch {
    return undefined
  }
  const parsed = volumeContent.safeParse(value)
  if (!parsed.success) return undefined
  const { imageId, baseId, madeForVm, file, work, upload, encryption, ...rest } = parsed.data
  return {
    ...rest,
    ...(file === undefined ? {} : { file }),
    ...(work === undefined ? {} : { work }),
    ...(encryption === undefined ? {} : { encryption }),
    ...(upload === undefined ? {} : { upload }),
    imageId,
    baseId,
    madeForVm,
  }
}
