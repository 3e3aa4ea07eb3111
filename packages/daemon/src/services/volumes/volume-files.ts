/** What a volume's row stands for in its pool: made and removed as the row says. */
import { KvasirError } from '@kvasir/contract'
import { pathSource, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { VolumePlan } from '../../ports/pools.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { backendOf, usablePool } from '../pools/usable-pool.ts'

/** Makes what a row of phase `creating` plans: an overlay on its image or base, or an empty volume. */
export async function makeVolumeFile(
  row: VolumeRecord,
  ports: Ports,
  plan: Omit<VolumePlan, 'capacityBytes'> = {},
): Promise<void> {
  const pool = usablePool(row.pool, ports)
  const base = baseOf(row, ports)
  if (base === undefined) await pool.createEmpty(row, { ...plan, capacityBytes: row.capacityBytes })
  else await pool.createOverlay(row, base, row.capacityBytes)
}

/** Removes what a row stands for; no error when there is nothing, nor when its pool has no row any more. */
export async function removeVolumeFile(row: VolumeRecord, ports: Ports): Promise<void> {
  if (ports.store.pools.findByName(row.pool) === undefined) return
  await backendOf(row, ports).remove(row)
}

/**
 * Takes back a volume that was not finished: what it stands for, then its row. Where the pool does not answer the row stays, as one to
 * be removed when it does.
 */
export async function discardVolume(row: VolumeRecord, ports: Ports): Promise<void> {
  const { store } = ports
  try {
    await removeVolumeFile(row, ports)
    store.volumes.remove(row.id)
  } catch (error) {
    if (!(error instanceof KvasirError && error.code === 'pool-unreachable')) throw error
    store.volumes.update({ ...row, phase: 'deleting', madeForVm: undefined })
  }
}

/** The path of a volume. `unsupported` for one that has none. */
export function pathOf(row: VolumeRecord, ports: Ports): string {
  return pathSource(sourceOf(row, ports)).path
}

/** Where a volume is. */
export function sourceOf(row: VolumeRecord, ports: Ports): VolumeSource {
  return backendOf(row, ports).source(row)
}

function baseOf(row: VolumeRecord, ports: Ports): VolumeSource | undefined {
  if (row.imageId !== undefined) return { path: ports.images.paths(row.imageId).disk, format: 'qcow2' }
  const base = row.baseId === undefined ? undefined : ports.store.volumes.get(row.baseId)
  return base && sourceOf(base, ports)
}
