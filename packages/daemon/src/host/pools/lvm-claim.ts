/**
 * How a volume group, or a thin pool in one, becomes a pool and ceases to be one: by a tag with the pool's id. What was made for it bears
 * another tag, and goes with it when nothing is left inside.
 */
import { KvasirError } from '@kvasir/contract'
import {
  contentsOf,
  type LvmPlace,
  madeTag,
  markOf,
  poolsMarked,
  poolTag,
  type SeenLvm,
  thinPoolOf,
} from '../../model/storage/lvm-place.ts'
import type { LvmSource, LvmThinSource } from '../../ports/pool-source.ts'
import { makeGroup } from './lvm-devices.ts'
import { refusalIn, spending } from './lvm-errors.ts'
import type { LvmTools } from './lvm-tools.ts'

/** A pool that is to be, or was. */
export interface LvmClaim {
  readonly id: string
  readonly source: LvmSource | LvmThinSource
  readonly where: LvmPlace
  /** What it is called in sentences. */
  readonly place: string
  readonly tools: LvmTools
}

/** Makes what is missing and was asked for, and marks it. `pool-refused`. */
export async function claimLvm(claim: LvmClaim, { force }: { readonly force: boolean }): Promise<void> {
  const { id, source, where, place, tools } = claim
  const { vg, devices } = source
  let seen = await look(claim)
  if (seen === undefined && devices.length > 0) {
    await makeGroup(tools, { vg, devices, force })
    seen = await look(claim)
  }
  if (seen === undefined) throw refusal(claim, `There is no volume group ${vg}; name devices to make it of`)
  if (source.type === 'lvm-thin') seen = await withThinPool(claim, source, seen)
  const mark = markOf(where, seen) ?? []
  const others = poolsMarked(mark).filter((other) => other !== id)
  if (others.length > 0 && !force)
    throw refusal(claim, `${place} is marked as the pool ${others[0]} already, of this daemon or another`)
  const tags = [...others.flatMap((other) => ['--deltag', poolTag(other)]), '--addtag', poolTag(id)]
  if (others.length > 0 || !mark.includes(poolTag(id))) await tagPlace(claim, tags)
}

/** Takes the mark away, and what was made for the pool if nothing lies in it. */
export async function releaseLvm(claim: LvmClaim): Promise<void> {
  const { id, where, tools } = claim
  const seen = await tools.look()
  const mark = seen && markOf(where, seen)
  if (!seen || !mark?.includes(poolTag(id))) return // It is gone, or somebody else's by now.
  await tagPlace(claim, ['--deltag', poolTag(id)])
  const { vg, thinPool } = where
  const { group } = seen
  const isMadeThin = thinPool !== undefined && mark.includes(madeTag)
  const takesThin = isMadeThin && contentsOf(where, seen).length === 0
  if (takesThin) await tools.change('lvremove', `${vg}/${thinPool}`)
  const left = group.volumeCount - (takesThin ? 1 : 0)
  const isOthers = poolsMarked(group.tags).some((other) => other !== id)
  if (left === 0 && group.tags.includes(madeTag) && !isOthers) await tools.change('vgremove', vg)
}

async function look(claim: LvmClaim): Promise<SeenLvm | undefined> {
  try {
    return await claim.tools.look()
  } catch (error) {
    if (error instanceof KvasirError) throw error
    const said = refusalIn(error) ?? (error instanceof Error ? error.message : String(error))
    throw refusal(claim, `Volume group ${claim.where.vg} cannot be looked at (${said})`, error)
  }
}

async function withThinPool(claim: LvmClaim, source: LvmThinSource, seen: SeenLvm): Promise<SeenLvm> {
  const { vg, thinPool, sizeBytes } = source
  if (thinPoolOf(claim.where, seen)) return seen
  if (seen.volumes.some(({ name }) => name === thinPool))
    throw refusal(claim, `Logical volume ${vg}/${thinPool} is no thin pool`)
  if (sizeBytes === undefined)
    throw refusal(claim, `There is no thin pool ${vg}/${thinPool}; give a size to make it`)
  const how = ['--type', 'thin-pool', '--size', `${sizeBytes}b`, '--name', thinPool]
  const tags = ['--addtag', madeTag, '--addtag', poolTag(claim.id)]
  await spending(claim.place, () => claim.tools.change('lvcreate', ...how, ...tags, vg))
  return (await look(claim)) ?? seen
}

async function tagPlace({ where, tools }: LvmClaim, tags: readonly string[]): Promise<void> {
  const { vg, thinPool } = where
  if (thinPool === undefined) await tools.change('vgchange', ...tags, vg)
  else await tools.change('lvchange', ...tags, `${vg}/${thinPool}`)
}

function refusal({ place }: LvmClaim, what: string, cause?: unknown): KvasirError {
  return new KvasirError('pool-refused', `${what}, so it is not made a pool.`, { details: { place }, cause })
}
