/** Merging a layer into the one that lies on it: by the emulator that has both open, or without one. */
import { KvasirError } from '@kvasir/contract'
import { pathSource } from '../../model/storage/volume-source.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { pathOf } from '../volumes/volume-files.ts'
import { layerOptions } from './layer-options.ts'

/** A layer, and the one volume that lies on it and takes it in. */
export interface LayerMerge {
  readonly disk: string
  readonly layer: VolumeRecord
  readonly into: VolumeRecord
}

export interface MergeWork {
  readonly ports: Ports
  readonly signal: AbortSignal
  readonly onProgress: (fraction: number) => void
}

/** Whether the emulator has the volume that takes the layer in open. */
export async function hasOpen(
  emulator: Emulator,
  { disk, into }: LayerMerge,
  ports: Ports,
): Promise<boolean> {
  const path = pathOf(into, ports)
  const chains = await emulator.blocks.chains({ disks: [disk], files: [path] })
  return chains.some(({ layers }) => layers.some((layer) => layer.path === path))
}

/** Merges in the emulator, where it has both open. `emulator-unresponsive` when it ends meanwhile. */
export async function mergeLive(
  driver: Driver,
  merge: LayerMerge,
  { ports, signal, onProgress }: MergeWork,
): Promise<void> {
  const { emulator, record } = driver.view()
  if (!emulator || !(await hasOpen(emulator, merge, ports))) return
  const disk = (record.run?.bootedSpec ?? record.spec).disks.find(({ name }) => name === merge.disk)
  if (!disk) throw new KvasirError('internal', `Disk ${merge.disk} is open and in no spec.`)
  const chain = volumeChain(merge.into, ports).map(pathSource)
  await emulator.blocks.absorb(
    {
      disk: merge.disk,
      id: merge.into.id,
      path: pathOf(merge.into, ports),
      base: chain[2],
      files: chain.map(({ path }) => path),
      options: layerOptions(disk, ports),
    },
    { onProgress, signal },
  )
}

/** Merges while nobody has the volume open. */
export async function mergeOffline(
  { into }: LayerMerge,
  { ports, signal, onProgress }: MergeWork,
): Promise<void> {
  const [, ...backing] = volumeChain(into, ports)
  await usablePool(into.pool, ports).absorb(into, { backing, absorbed: 1 }, { onProgress, signal })
}
