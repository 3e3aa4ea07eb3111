/** Makes the volume of a copy, empty or with what it has below it, as its row plans it. */
import { KvasirError } from '@kvasir/contract'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { Ports } from '../../ports/ports.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { makeVolumeFile, sourceOf } from '../volumes/volume-files.ts'
import { asVolume, belowCopy, type LayerCopy } from './layer-rows.ts'
import { type CopyRecord, copyNow } from './move-rows.ts'

/** Makes what a copy's row plans, and writes down which capacity it has; answers that. */
export async function makeCopy(copy: CopyRecord, ports: Ports): Promise<number> {
  const made = await makeVolumeFile(asVolume(copy), ports)
  const isBare = copy.move.clonesId === undefined && copy.liesIn === undefined
  const capacityBytes = isBare ? made.capacityBytes : await grownCapacity(copy, ports)
  const now = copyNow(copy.id, ports.store)
  if (now && now.capacityBytes !== capacityBytes) ports.store.volumes.update({ ...now, capacityBytes })
  return capacityBytes
}

/** What lies on another volume, or was cloned of it, has at least what that has; the disk may have grown since. */
async function grownCapacity(copy: CopyRecord, ports: Ports): Promise<number> {
  const pool = usablePlace(copy, ports)
  const capacityBytes = await pool.capacityBytes(copy)
  if (capacityBytes >= copy.capacityBytes) return capacityBytes
  await pool.resize(copy, copy.capacityBytes)
  return await pool.capacityBytes(copy)
}

/** A copy and what it has below it, as `VolumeAccess.fill` takes them: what is below is copied already. */
export function sourcesOfCopy(copy: LayerCopy, ports: Ports): readonly VolumeSource[] {
  if (copy.move.clonesId === undefined) return volumeChain(copy, ports)
  const below = belowCopy(copy, ports.store)
  return [sourceOf(copy, ports), ...(below ? [sourceOf(below, ports)] : [])]
}

/** A mirror copies only between two of one size, but for a raw copy, whose node is cut short (QEMU 7.2, block/mirror.c). `plan-refused`. */
export function requireSameSize(
  copy: CopyRecord,
  { capacityBytes, sizeBytes }: { readonly capacityBytes: number; readonly sizeBytes: number },
): void {
  if (capacityBytes <= sizeBytes) return
  throw new KvasirError(
    'plan-refused',
    `Disk ${copy.move.disk} with its snapshots would become larger in pool ${copy.pool}, where the volume under it is, so it is not moved there while its VM runs.`,
    { details: { disk: copy.move.disk, pool: copy.pool } },
  )
}
