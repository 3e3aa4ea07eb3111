/** A logical volume that others made becomes a volume of a pool, in its place. */
import { KvasirError } from '@kvasir/contract'
import { poolsMarked, poolTag } from '../../model/storage/lvm-place.ts'
import type { LogicalVolume } from '../../model/storage/lvm-report.ts'
import type { Adoption } from '../../ports/pools.ts'
import type { LvmTools } from './lvm-tools.ts'

/** Logical volumes are raw. `image-refused`. */
export function requireRaw({ file, format }: { readonly file: string; readonly format: string }): void {
  if (format === 'raw') return
  throw new KvasirError(
    'image-refused',
    `Logical volume ${file} is raw, so it is imported as raw or not at all.`,
  )
}

/** Marks a logical volume as one of a pool, and opens it. `image-refused` for that of another pool. */
export async function adoptLv(
  { name, sizeBytes, tags, isActive }: LogicalVolume,
  { poolId, vg, tools }: { readonly poolId: string; readonly vg: string; readonly tools: LvmTools },
): Promise<Adoption> {
  const other = poolsMarked(tags).find((id) => id !== poolId)
  if (other !== undefined)
    throw new KvasirError(
      'image-refused',
      `Logical volume ${name} is a volume of pool ${other}, so it is not imported.`,
    )
  const full = `${vg}/${name}`
  const tag = poolTag(poolId)
  const giveBack = () =>
    tools.reach(async () => {
      if (!isActive) await tools.change('lvchange', '-an', full)
      if (!tags.includes(tag)) await tools.change('lvchange', '--deltag', tag, full)
    })
  await tools.change('lvchange', '--addtag', tag, full)
  try {
    if (!isActive) await tools.change('lvchange', '-ay', '-K', full)
  } catch (error) {
    await giveBack().catch(() => {}) // What is in the way says more.
    throw error
  }
  return { capacityBytes: sizeBytes, giveBack }
}
