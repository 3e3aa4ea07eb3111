/**
 * A pool of LVM as it is judged: what of a volume group is the pool's, how much room it has, what its owner should know. Pure.
 *
 * A volume is ours by a tag with the pool's id, whatever it is called; the volume group, or the thin pool in it, bears the same tag.
 */
import { formatBytes } from '@kvasir/contract'
import type { LogicalVolume, VolumeGroup } from './lvm-report.ts'

/** The names of a pool of LVM. */
export interface LvmPlace {
  readonly vg: string
  /** The thin pool; undefined for the volume group itself. */
  readonly thinPool: string | undefined
}

/** What was seen of it. */
export interface SeenLvm {
  readonly group: VolumeGroup
  readonly volumes: readonly LogicalVolume[]
}

/** The tag of a pool, on what it is made of and on its volumes. */
export const poolTag = (id: string) => `kvasir.pool=${id}`
/** The tag of what was made for a pool, so that it goes with it. */
export const madeTag = 'kvasir.made'
/** What was kept of a thin volume at one moment, or was to be, and is no clone yet. */
export const keptTag = 'kvasir.kept'
/** What a logical volume bears whose space, from a place on, still holds what others had there. */
export const unclearedTag = (fromBytes: number) => `kvasir.uncleared=${fromBytes}`
const anyUnclearedTag = /^kvasir\.uncleared=(\d+)$/
const anyPoolTag = /^kvasir\.pool=(.+)$/
const volumeName = /^kvasir-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** The logical volume of a volume's id. */
function lvName(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return `kvasir-${id}`
}

/** The logical volume of a volume, which may have been imported in its place. */
export function lvNameOf({ id, file }: { readonly id: string; readonly file?: string | undefined }): string {
  return file ?? lvName(id)
}

/** The tags of what the pool is made of; undefined when that is not there. */
export function markOf(place: LvmPlace, seen: SeenLvm): readonly string[] | undefined {
  if (place.thinPool === undefined) return seen.group.tags
  return thinPoolOf(place, seen)?.tags
}

/** The ids of the pools that tags are about. */
export function poolsMarked(tags: readonly string[]): readonly string[] {
  return tags.flatMap((tag) => anyPoolTag.exec(tag)?.[1] ?? [])
}

/** The thin pool of a place. */
export function thinPoolOf({ thinPool }: LvmPlace, { volumes }: SeenLvm): LogicalVolume | undefined {
  return volumes.find(({ name, isThinPool }) => name === thinPool && isThinPool)
}

/** What lies in the pool. The thin pools of a volume group, and what lies in them, are not its own. */
export function contentsOf(place: LvmPlace, seen: SeenLvm): readonly LogicalVolume[] {
  return seen.volumes.filter((one) => !one.isThinPool && !one.isOtherPool && one.pool === place.thinPool)
}

/** The id of the volume that a logical one is. */
export function volumeIdOf({ name, tags }: LogicalVolume, poolId: string): string | undefined {
  return tags.includes(poolTag(poolId)) ? volumeName.exec(name)?.[1] : undefined
}

/** Whether something is, or was to be, what a thin volume held at a moment, and is no volume yet. */
export function isForMoment({ tags }: LogicalVolume): boolean {
  return tags.includes(keptTag)
}

/** Volumes of the pool that the host has not opened up. */
export function inactiveOf(place: LvmPlace, seen: SeenLvm, poolId: string): readonly string[] {
  return contentsOf(place, seen)
    .filter((one) => !one.isActive && one.tags.includes(poolTag(poolId)) && !isForMoment(one))
    .map(({ name }) => name)
}

/** Shares of a thin pool's metadata from which it is to be looked at, and in danger: without any, every volume in it stops. */
const lowMetadata = 0.8
const fullMetadata = 0.95

/** From where on a logical volume is still to be overwritten; undefined when it is not. */
export function unclearedFrom(tags: readonly string[]): number | undefined {
  const [from] = tags.flatMap((tag) => anyUnclearedTag.exec(tag)?.[1] ?? [])
  return from === undefined ? undefined : Number(from)
}

/** The room in a pool, and what its owner should know. */
export function spaceOf(place: LvmPlace, seen: SeenLvm) {
  const { group } = seen
  const pool = thinPoolOf(place, seen)
  const missing =
    group.missingDevices === 0
      ? []
      : [bad(`${group.missingDevices} devices of volume group ${group.name} are missing.`)]
  if (place.thinPool === undefined || pool === undefined)
    return {
      capacityBytes: group.sizeBytes,
      allocatedBytes: group.sizeBytes - group.freeBytes,
      availableBytes: group.freeBytes,
      concerns: missing,
    }
  const taken = Math.min(pool.sizeBytes, Math.ceil(pool.sizeBytes * (pool.dataShare ?? 0)))
  return {
    capacityBytes: pool.sizeBytes,
    allocatedBytes: taken,
    availableBytes: pool.sizeBytes - taken,
    concerns: [...missing, ...thinConcerns(pool)],
  }
}

function thinConcerns(pool: LogicalVolume): readonly Concern[] {
  const { metadataShare = 0, trouble } = pool
  const percent = `${(metadataShare * 100).toFixed(0)} % of the metadata of thin pool ${pool.name} are taken`
  return [
    ...(pool.zeroes
      ? []
      : [
          {
            health: 'warning' as const,
            remark: `Thin pool ${pool.name} does not zero what it gives out (lvchange --zero y), so a guest could read what another one deleted.`,
          },
        ]),
    ...(trouble === '' ? [] : [bad(`Thin pool ${pool.name} is in trouble: ${trouble}.`)]),
    ...(metadataShare >= fullMetadata
      ? [bad(`${percent}; lvextend --poolmetadatasize gives it more.`)]
      : metadataShare >= lowMetadata
        ? [{ health: 'warning' as const, remark: `${percent}.` }]
        : []),
    ...(pool.isActive ? [] : [bad(`Thin pool ${pool.name} is not active.`)]),
  ]
}

interface Concern {
  readonly health: 'warning' | 'bad'
  readonly remark: string
}

function bad(remark: string): Concern {
  return { health: 'bad', remark }
}

/** Why a volume cannot have so many bytes more in a thin pool; undefined when it can. */
export function thinShortage(
  place: LvmPlace,
  seen: SeenLvm,
  neededBytes: number,
): { readonly freeBytes: number; readonly sentence: string } | undefined {
  const { availableBytes: freeBytes } = spaceOf(place, seen)
  if (neededBytes < freeBytes) return undefined
  const sentence = `Thin pool ${place.vg}/${place.thinPool} has ${formatBytes(freeBytes)} free, so there is no room for ${formatBytes(neededBytes)} more.`
  return { freeBytes, sentence }
}
