/**
 * What LVM says of a volume group and of what lies in it, in its JSON reports (lvmreport(7)), read into our words.
 *
 * Sizes are asked for in bytes without a unit; a field that LVM has nothing for is an empty string. One that is `unknown` (an LV that is
 * not active) is read as nothing known.
 */
import { z } from 'zod'

/** The fields that a report of a volume group is asked for. */
export const groupFields = [
  'vg_name',
  'vg_size',
  'vg_free',
  'vg_extent_size',
  'vg_tags',
  'vg_missing_pv_count',
  'lv_count',
] as const

/** The fields that a report of logical volumes is asked for. */
export const volumeFields = [
  'lv_name',
  'lv_size',
  'lv_tags',
  'lv_layout',
  'lv_active',
  'lv_health_status',
  'pool_lv',
  'origin',
  'data_percent',
  'metadata_percent',
  'zero',
  'thin_id',
] as const

/** A volume group. */
export interface VolumeGroup {
  readonly name: string
  readonly sizeBytes: number
  readonly freeBytes: number
  readonly extentBytes: number
  readonly tags: readonly string[]
  readonly missingDevices: number
  readonly volumeCount: number
}

/** A logical volume, or the pool that thin ones lie in. */
export interface LogicalVolume {
  readonly name: string
  readonly sizeBytes: number
  readonly tags: readonly string[]
  readonly isThinPool: boolean
  /** What is no place for data by itself: a cache, a VDO pool. */
  readonly isOtherPool: boolean
  readonly isActive: boolean
  /** Such as `out_of_data`; empty for one that is well. */
  readonly trouble: string
  /** The thin pool that it lies in. */
  readonly pool: string | undefined
  readonly origin: string | undefined
  /** The number of a thin volume in its pool. */
  readonly thinId: number | undefined
  /** Of a thin volume, what of it has space; of a thin pool, what is taken. From 0 to 1; undefined when it is not active. */
  readonly dataShare: number | undefined
  readonly metadataShare: number | undefined
  /** Of a thin pool: space is zeroed before it is given to a volume. */
  readonly zeroes: boolean
}

const bytes = z.string().regex(/^\d+$/).transform(Number)
const words = z.string().transform((text) => text.split(',').filter((word) => word !== ''))
const share = z.string().transform((text) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) / 100 : undefined))

const groupRow = z.object({
  vg_name: z.string().min(1),
  vg_size: bytes,
  vg_free: bytes,
  vg_extent_size: bytes,
  vg_tags: words,
  vg_missing_pv_count: bytes,
  lv_count: bytes,
})

const volumeRow = z.object({
  lv_name: z.string().min(1),
  lv_size: bytes,
  lv_tags: words,
  lv_layout: words,
  lv_active: z.string(),
  lv_health_status: z.string(),
  pool_lv: z.string(),
  origin: z.string(),
  data_percent: share,
  metadata_percent: share,
  zero: z.string(),
  thin_id: z.string(),
})

const report = z.object({ report: z.array(z.record(z.string(), z.unknown())) })

/** The groups of a report of `vgs`, or of each volume of `lvs`. Throws `ZodError` for what is none. */
export function parseGroups(value: unknown, kind: 'vg' | 'lv'): readonly VolumeGroup[] {
  return rowsOf(value, kind, groupRow).map((row) => ({
    name: row.vg_name,
    sizeBytes: row.vg_size,
    freeBytes: row.vg_free,
    extentBytes: row.vg_extent_size,
    tags: row.vg_tags,
    missingDevices: row.vg_missing_pv_count,
    volumeCount: row.lv_count,
  }))
}

/** The volumes of a report of `lvs`. Throws `ZodError` for what is none. */
export function parseVolumes(value: unknown): readonly LogicalVolume[] {
  return rowsOf(value, 'lv', volumeRow).map((row) => ({
    name: row.lv_name,
    sizeBytes: row.lv_size,
    tags: row.lv_tags,
    isThinPool: row.lv_layout.includes('thin') && row.lv_layout.includes('pool'),
    isOtherPool: row.lv_layout.includes('pool') && !row.lv_layout.includes('thin'),
    isActive: row.lv_active.includes('active'),
    trouble: row.lv_health_status,
    pool: row.pool_lv === '' ? undefined : row.pool_lv,
    origin: row.origin === '' ? undefined : row.origin,
    thinId: /^\d+$/.test(row.thin_id) ? Number(row.thin_id) : undefined,
    dataShare: row.data_percent,
    metadataShare: row.metadata_percent,
    zeroes: row.zero === 'zero',
  }))
}

/** How many groups or volumes a report tells of. */
export function rowsIn(value: unknown): number {
  const parts = report.parse(value).report.flatMap((part) => Object.values(part))
  return parts.reduce<number>((sum, rows) => sum + (Array.isArray(rows) ? rows.length : 0), 0)
}

function rowsOf<Row extends z.ZodType>(value: unknown, kind: string, row: Row): readonly z.output<Row>[] {
  return report.parse(value).report.flatMap((part) => z.array(row).parse(part[kind] ?? []))
}
