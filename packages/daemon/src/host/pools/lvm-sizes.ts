/**
 * How a logical volume gets another size, and how what others had in its space is overwritten before anybody can read it. A thin volume
 * gets its space as zeroes; of any other, a tag says from where on it is still to be overwritten, so that a death in between is made good.
 */
import { CommandError } from '@kvasir/linux'
import { unclearedTag } from '../../model/storage/lvm-place.ts'
import type { LvmTools } from './lvm-tools.ts'

export interface SizeChange {
  /** `GROUP/VOLUME`. */
  readonly name: string
  /** Bytes, in whole extents. */
  readonly from: number
  readonly to: number
  readonly isThin: boolean
}

/** Makes a volume larger or smaller. */
export async function changeSize(tools: LvmTools, { name, from, to, isThin }: SizeChange): Promise<void> {
  const size = ['--size', `${to}b`, name]
  if (to < from) return await shrink(tools, size)
  if (isThin) return await tools.change('lvextend', ...size)
  await tools.change('lvchange', '--addtag', unclearedTag(from), name)
  try {
    await tools.change('lvextend', ...size)
  } catch (error) {
    await tools.change('lvchange', '--deltag', unclearedTag(from), name)
    throw error
  }
  await clearFrom(tools, name, from)
}

/** Makes a volume that bears the tag for all of it, and clears it. A signature that is left would make the host's tools take it for something that it was. */
export async function createCleared(
  tools: LvmTools,
  name: string,
  {
    create,
    remove,
  }: { readonly create: (args: readonly string[]) => Promise<void>; readonly remove: () => Promise<void> },
): Promise<void> {
  await create(['-Wy', '-Zy', '--addtag', unclearedTag(0)])
  try {
    await tools.reach(() => clearFrom(tools, name, 0))
  } catch (error) {
    await remove().catch(() => {}) // What made it fail says more; recovery removes it by its row.
    throw error
  }
}

/** Writes zeroes from a place to the end of a volume that bears the tag for it. */
export async function clearFrom(tools: LvmTools, name: string, from: number): Promise<void> {
  await tools.clear(`/dev/${name}`, from)
  await tools.change('lvchange', '--deltag', unclearedTag(from), name)
}

/** From 2.03.17 on, LVM looks for a file system that it could shrink, and needs to be told not to. */
async function shrink(tools: LvmTools, size: readonly string[]): Promise<void> {
  try {
    await tools.change('lvreduce', '--force', '--fs', 'ignore', ...size)
  } catch (error) {
    if (!(error instanceof CommandError) || !/unrecognized option/.test(error.stderr)) throw error
    await tools.change('lvreduce', '--force', ...size)
  }
}
