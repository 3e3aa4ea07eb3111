/** What a volume's row stands for in its pool: made and removed as the row says. */
import { KvasirError } from '@kvasir/contract'
import { groundName, pathSource, type VolumeSource } from '../../model/storage/volume-source.ts'
import type { CopyWork, PoolBackend, VolumePlan } from '../../ports/pools.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { backendOf, usablePlace } from '../pools/usable-pool.ts'

/** How a volume is made: the options of an empty one, and who is told of a copy. */
export type Making = Omit<VolumePlan, 'capacityBytes'> & Partial<CopyWork>

/** An image is copied where a pool has no overlays. */
const copyDeadlineMs = 24 * 3_600_000

/**
 * Makes what a row of phase `creating` plans: an overlay on its image or base, a clone of its base or a copy of its image where there are
 * no overlays, or an empty volume. Answers the row as it is then: with the capacity that it has, and without what it does not need any more.
 */
export async function makeVolumeFile(
  row: VolumeRecord,
  ports: Ports,
  making: Making = {},
): Promise<VolumeRecord> {
  const pool = usablePlace(row, ports)
  if (row.imageId !== undefined && row.format === 'raw') {
    await copyImage({ ...row, imageId: row.imageId }, { pool, ports, making })
    return await asMade({ ...row, imageId: undefined }, ports)
  }
  const origin = row.baseId === undefined ? undefined : ports.store.volumes.get(row.baseId)
  if (origin && pool.capabilities.independentClones) {
    await pool.createClone(row, origin)
    return await asMade({ ...row, baseId: undefined }, ports)
  }
  const base = baseOf(row, ports)
  if (base === undefined) await pool.createEmpty(row, { ...making, capacityBytes: row.capacityBytes })
  else await pool.createOverlay(row, base, row.capacityBytes)
  return await asMade(row, ports)
}

async function copyImage(
  row: VolumeRecord & { readonly imageId: string },
  { pool, ports, making }: { readonly pool: PoolBackend; readonly ports: Ports; readonly making: Making },
): Promise<void> {
  const { onProgress = () => {}, signal = AbortSignal.timeout(copyDeadlineMs) } = making
  const image: VolumeSource = { path: ports.images.paths(row.imageId).disk, format: 'qcow2' }
  await pool.createCopy(row, [image], { onProgress, signal })
  try {
    if ((await pool.capacityBytes(row)) < row.capacityBytes) await pool.resize(row, row.capacityBytes)
  } catch (error) {
    await pool.remove(row).catch(() => {}) // What made it fail says more; recovery removes it by its row.
    throw error
  }
}

/** Makes a linked clone as its row of phase `creating` plans it. Answers the row, which says of what it is a clone where that matters on. */
export async function makeLinkedClone(row: VolumeRecord, ports: Ports): Promise<VolumeRecord> {
  const made = await makeVolumeFile(row, ports)
  if (made.baseId !== undefined) return made
  const isShared = usablePlace(row, ports).flatten !== undefined
  return isShared ? { ...made, originId: row.baseId } : { ...made, clonedFromId: row.baseId }
}

/** A row with the capacity that its volume has: logical volumes come in whole extents. */
export async function asMade(row: VolumeRecord, ports: Ports): Promise<VolumeRecord> {
  const pool = usablePlace(row, ports)
  if (pool.source(row).kind !== 'device') return row
  return { ...row, capacityBytes: await pool.capacityBytes(row) }
}

/** Removes what a row stands for, and what was kept for a clone that was not finished; no error when there is nothing, nor when its pool has no row any more. */
export async function removeVolumeFile(row: VolumeRecord, ports: Ports): Promise<void> {
  if (row.format === 'raw') await ports.files.removeNotes(row.id)
  if (ports.store.pools.findByName(row.pool) === undefined) return
  const backend = backendOf(row, ports)
  await backend.remove(row)
  const origin = row.baseId === undefined ? undefined : ports.store.volumes.get(row.baseId)
  if (origin?.pool === row.pool) await backend.moments?.letGo({ origin, copy: row })
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

/** What a volume is called where an emulator is asked what it has open. */
export function groundOf(row: VolumeRecord, ports: Ports): string {
  return groundName(sourceOf(row, ports))
}

/** Where a volume is. */
export function sourceOf(row: VolumeRecord, ports: Ports): VolumeSource {
  const source = backendOf(row, ports).source(row)
  return row.encryption === undefined ? source : { ...source, encryption: row.encryption }
}

function baseOf(row: VolumeRecord, ports: Ports): VolumeSource | undefined {
  if (row.imageId !== undefined) return { path: ports.images.paths(row.imageId).disk, format: 'qcow2' }
  const base = row.baseId === undefined ? undefined : ports.store.volumes.get(row.baseId)
  return base && sourceOf(base, ports)
}
