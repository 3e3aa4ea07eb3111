/** New qcow2 files in a folder, and files that get another capacity: plain ones and encrypted ones. */
import { formatBytes, KvasirError } from '@kvasir/contract'
import { emptyQcow2, usualClusterBytes } from '../../model/storage/empty-qcow2.ts'
import type { PathSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { VolumeKey, VolumePlan } from '../../ports/pools.ts'
import { makeEncrypted, resizeEncrypted } from './encrypted-qcow2.ts'
import type { PoolFolder } from './pool-folder.ts'
import { makeQcow2, resizeQcow2 } from './qemu-img.ts'

/** The largest qcow2 file with clusters of 64 KiB: a first-level table of 32 MiB. */
const maxCapacityBytes = 2 ** 51

interface Tools {
  readonly folder: PoolFolder
  readonly jailed: JailedTools
}

/** What a qcow2 file of a capacity takes at most: its data and a hundredth for its tables. */
export function flatBytes(capacityBytes: number): number {
  return Math.ceil(capacityBytes * 1.01) + 16 * 1024 ** 2
}

/** Makes a file that exists and is empty a qcow2 file. A usual one is written by the hands, without a tool that has to be started. */
export async function fillQcow2(
  {
    file,
    path,
    encryption,
  }: Pick<VolumeKey, 'encryption'> & { readonly file: string; readonly path: string },
  plan: VolumePlan & { readonly base: PathSource | undefined },
  { folder, jailed }: Tools,
): Promise<void> {
  if (encryption) {
    const signal = AbortSignal.timeout(folder.deadlines.allocateMs)
    await makeEncrypted({ path, ...encryption }, plan, {
      jailed,
      signal,
      fileSizeBytes: flatBytes(plan.capacityBytes),
    })
    return
  }
  const { preallocation = 'none', clusterBytes = usualClusterBytes } = plan
  if (preallocation !== 'none' || clusterBytes !== usualClusterBytes) {
    await makeQcow2(path, plan)
    return
  }
  const { fileBytes, parts } = emptyQcow2(plan)
  const words = parts.flatMap(({ offset, bytes }) => [offset, Buffer.from(bytes).toString('hex')])
  await folder.quick(['lay', file, fileBytes, ...words])
}

/** Gives a qcow2 file another capacity. */
export async function resizeFile(
  { path, encryption }: Pick<VolumeKey, 'encryption'> & { readonly path: string },
  capacityBytes: number,
  { folder, jailed }: Tools,
): Promise<void> {
  const fileSizeBytes = flatBytes(maxCapacityBytes)
  await folder.reach(() =>
    encryption
      ? resizeEncrypted({ path, ...encryption }, capacityBytes, {
          jailed,
          signal: AbortSignal.timeout(folder.deadlines.allocateMs),
          fileSizeBytes,
        })
      : resizeQcow2(path, capacityBytes, { jailed, fileSizeBytes }),
  )
}

/** Refuses a capacity that no qcow2 file has, for one that is to be one. */
export function refuseHuge(volume: VolumeKey, capacityBytes: number): void {
  if (volume.format === 'raw' || capacityBytes <= maxCapacityBytes) return
  throw new KvasirError(
    'unsupported',
    `A volume of ${formatBytes(capacityBytes)} is larger than a qcow2 file can be, so it was not made.`,
  )
}
