/** What an export makes of what: which disks, and the volume that each is copied to. */
import { type DiskSpec, isReadOnly, KvasirError, type VolumeFormat } from '@kvasir/contract'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { requireEncryption } from '../volumes/encryption.ts'
import { requireWhole } from '../volumes/hold-volume.ts'
import { requireFreeName } from '../volumes/require-free-name.ts'
import { type CopyRecord, newCopy } from './move-rows.ts'

/** As long as a name of a volume may be (contract, resourceName). */
const longestName = 63

export interface ExportRequest {
  /** What comes after the name of each volume: `web1-root.monday`. */
  readonly name: string
  readonly pool?: string | undefined
  readonly format?: VolumeFormat | undefined
  /** Names of disks; all that the guest may write to unless said. */
  readonly disks?: readonly string[] | undefined
  /** In bytes a second for each disk; 0 for as fast as it goes. */
  readonly speed: number
  /** The guest agent freezes the file systems meanwhile. */
  readonly quiesce: boolean
}

/** One disk of an export. */
export interface PlannedExport {
  readonly disk: DiskSpec
  readonly volume: VolumeRecord
  readonly copy: CopyRecord
}

/** Plans an export; refuses what does not go. */
export function planExport(
  record: VmRecord,
  request: ExportRequest,
  { ports }: Pick<Context, 'ports'>,
): readonly PlannedExport[] {
  const known = new Set(record.spec.disks.map(({ name }) => name))
  for (const name of request.disks ?? [])
    if (!known.has(name))
      throw new KvasirError(
        'volume-not-found',
        `VM ${record.name} has no disk ${name}, so it is not exported.`,
      )
  const planned = record.spec.disks
    .filter((disk) => request.disks?.includes(disk.name) ?? !isReadOnly(disk))
    .flatMap((disk): readonly PlannedExport[] => {
      const volume = disk.volume === undefined ? undefined : ports.store.volumes.find(disk.pool, disk.volume)
      if (!volume) return []
      const { pool, format } = placeOf(volume, request, { ports })
      const name = `${volume.name}.${request.name}`
      requireFree({ pool, name }, { ports })
      const move = { vmId: record.id, disk: disk.name, keep: true, exports: true }
      const copy = newCopy(volume, { name, pool, format, move }, ports)
      return [{ disk, volume, copy }]
    })
  if (planned.length > 0) return planned
  throw new KvasirError('bad-request', `VM ${record.name} has no disk to export.`)
}

function placeOf(volume: VolumeRecord, request: ExportRequest, { ports }: Pick<Context, 'ports'>) {
  requireWhole(volume)
  const pool = request.pool ?? volume.pool
  const formats: readonly VolumeFormat[] = usablePool(pool, ports).capabilities.formats
  const wanted = request.format ?? (formats.includes(volume.format) ? volume.format : formats[0])
  if (wanted !== undefined && formats.includes(wanted)) {
    if (volume.encryption) requireEncryption({ pool, format: wanted }, ports)
    return { pool, format: wanted }
  }
  throw new KvasirError(
    'unsupported',
    `Pool ${pool} has no volumes of format ${request.format}, so nothing is exported.`,
  )
}

function requireFree(
  place: { readonly pool: string; readonly name: string },
  { ports }: Pick<Context, 'ports'>,
) {
  if (place.name.length > longestName)
    throw new KvasirError(
      'bad-request',
      `The name ${place.name} is too long for a volume, so nothing is exported.`,
    )
  requireFreeName(place, ports)
}
