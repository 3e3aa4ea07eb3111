/** A logical volume that others made becomes a volume of a pool, in its place. */
import { KvasirError } from '@kvasir/contract'
import {
  contentsOf,
  type LvmPlace,
  poolsMarked,
  poolTag,
  type SeenLvm,
} from '../../model/storage/lvm-place.ts'
import type { LogicalVolume } from '../../model/storage/lvm-report.ts'
import type { Adoption, WordsBefore } from '../../ports/pools.ts'
import type { LvmTools } from './lvm-tools.ts'

/** Logical volumes are raw. `image-refused`. */
export function requireRaw({ file, format }: { readonly file: string; readonly format: string }): void {
  if (format === 'raw') return
  throw new KvasirError(
    'image-refused',
    `Logical volume ${file} is raw, so it is imported as raw or not at all.`,
  )
}

const wasOpen = 'open'
const wasMarked = 'marked'

interface Where {
  /** Of the pool. */
  readonly id: string
  readonly where: LvmPlace
  readonly tools: Pick<LvmTools, 'change'>
}

/** Marks a logical volume as one of a pool, and opens it; whether it was marked and open is told before. `image-refused` for that of another pool. */
export async function adoptLv(
  { name, sizeBytes, tags, isActive }: LogicalVolume,
  { id, where, tools }: Where,
  note: (before: WordsBefore) => void = () => {},
): Promise<Adoption> {
  const other = poolsMarked(tags).find((one) => one !== id)
  if (other !== undefined)
    throw new KvasirError(
      'image-refused',
      `Logical volume ${name} is a volume of pool ${other}, so it is not imported.`,
    )
  const full = `${where.vg}/${name}`
  const tag = poolTag(id)
  note([...(isActive ? [wasOpen] : []), ...(tags.includes(tag) ? [wasMarked] : [])])
  await tools.change('lvchange', '--addtag', tag, full)
  if (!isActive) await tools.change('lvchange', '-ay', '-K', full)
  return { capacityBytes: sizeBytes }
}

/** Leaves a logical volume that is still there as it was. */
export async function giveBackLv(
  name: string,
  before: WordsBefore,
  { id, where, tools, seen }: Where & { readonly seen: SeenLvm },
): Promise<void> {
  if (!contentsOf(where, seen).some((one) => one.name === name)) return
  const full = `${where.vg}/${name}`
  // The mark first: who looks at the pool opens what bears it and is closed.
  if (!before.includes(wasMarked)) await tools.change('lvchange', '--deltag', poolTag(id), full)
  if (!before.includes(wasOpen)) await tools.change('lvchange', '-an', full)
}
