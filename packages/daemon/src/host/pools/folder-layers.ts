/** Layers in a folder: what lies under them is taken in, or they go down into it. Nobody has them open. */
import type { PathSource, VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { AbsorbedSources, CopyWork } from '../../ports/pools.ts'
import { absorbLayers, nameBase, sinkLayer } from './absorb-layers.ts'
import { checkedSources } from './chain-check.ts'
import type { PoolFolder } from './pool-folder.ts'
import { flatBytes } from './qcow2-files.ts'

/** A layer by its name in the folder, and where tools find it. */
export interface FolderLayer {
  readonly file: string
  readonly source: PathSource
}

interface Tools {
  readonly folder: PoolFolder
  readonly jailed: JailedTools
}

/** Takes in the nearest of what a layer lies on. */
export async function absorbInto(
  { file, source }: FolderLayer,
  { backing, absorbed }: AbsorbedSources,
  { folder, jailed, onProgress, signal }: Tools & CopyWork,
): Promise<void> {
  const work = { jailed, signal, fileSizeBytes: await folder.requireRoom(0) }
  await nameBase(source, backing[0], work) // A merge that was broken off may have named another.
  const { chain, capacityBytes } = await folder.reach(() => checkedSources(source, backing))
  const fileSizeBytes = Math.min(flatBytes(capacityBytes), work.fileSizeBytes)
  try {
    await absorbLayers(chain, absorbed, { ...work, onProgress, fileSizeBytes })
    await nameBase(source, backing[absorbed], work)
  } catch (error) {
    // The tool may have named the other base before it failed; the volume lies on what it lay on.
    const signal = AbortSignal.timeout(folder.deadlines.allocateMs)
    await nameBase(source, backing[0], { ...work, signal }).catch(() => {})
    throw error
  }
  await folder.sync(file)
}

/** Copies what a layer holds into the raw volume under it. */
export async function sinkInto(
  { source }: FolderLayer,
  into: VolumeSource,
  { folder, jailed, onProgress, signal }: Tools & CopyWork,
): Promise<void> {
  const work = { jailed, signal, fileSizeBytes: await folder.requireRoom(0) }
  await nameBase(source, into, work) // QEMU's tools put what a header says beside what they are told.
  await folder.reach(() => sinkLayer([source, into], { ...work, onProgress }))
}

/** Has the header of a layer name what it lies on. */
export async function layOn(
  { file, source }: FolderLayer,
  base: VolumeSource,
  { folder, jailed }: Tools,
): Promise<void> {
  const signal = AbortSignal.timeout(folder.deadlines.allocateMs)
  await nameBase(source, base, { jailed, signal, fileSizeBytes: await folder.requireRoom(0) })
  await folder.sync(file)
}
