/** Merging a layer into the one that lies on it: by the emulator that has both open, or without one. */
import { KvasirError } from '@kvasir/contract'
import { groundName, headerName } from '../../model/storage/volume-source.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { groundOf, pathOf } from '../volumes/volume-files.ts'
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
  { disk, into }: Pick<LayerMerge, 'disk' | 'into'>,
  ports: Ports,
): Promise<boolean> {
  const path = groundOf(into, ports)
  const chains = await emulator.blocks.chains({ disks: [disk], files: [path] })
  return chains.some(({ layers }) => layers.some((layer) => layer.path === path))
}

/** A volume of a disk, and how many of those that it lies on it takes in, the nearest first. */
export interface Intake {
  readonly disk: string
  readonly into: VolumeRecord
  readonly absorbed: number
}

/** Merges in the emulator, where it has both open. `emulator-unresponsive` when it ends meanwhile. */
export async function mergeLive(driver: Driver, { disk, into }: LayerMerge, work: MergeWork): Promise<void> {
  await takeInLive(driver, { disk, into, absorbed: 1 }, work)
}

/** Lets the emulator copy, where it has the volume open. `emulator-unresponsive` when it ends meanwhile. */
export async function takeInLive(
  driver: Driver,
  intake: Intake,
  { ports, signal, onProgress }: MergeWork,
): Promise<void> {
  const { emulator, record } = driver.view()
  const { into, absorbed } = intake
  if (!emulator || !(await hasOpen(emulator, intake, ports))) return
  const disk = (record.run?.bootedSpec ?? record.spec).disks.find(({ name }) => name === intake.disk)
  if (!disk) throw new KvasirError('internal', `Disk ${intake.disk} is open and in no spec.`)
  const chain = volumeChain(into, ports)
  const base = chain[1 + absorbed]
  await emulator.blocks.absorb(
    {
      disk: disk.name,
      id: into.id,
      path: pathOf(into, ports),
      base: base && { path: groundName(base), header: headerName(base) },
      files: chain.map(groundName),
      options: layerOptions({ disk, volume: into }, record, ports),
    },
    { onProgress, signal },
  )
}

/** Merges while nobody has the volume open. */
export async function mergeOffline({ into }: Pick<LayerMerge, 'into'>, work: MergeWork): Promise<void> {
  await takeInOffline({ into, absorbed: 1 }, work)
}

/** Copies while nobody has the volume open. */
export async function takeInOffline(
  { into, absorbed }: Pick<Intake, 'into' | 'absorbed'>,
  { ports, signal, onProgress }: MergeWork,
): Promise<void> {
  const [, ...backing] = volumeChain(into, ports)
  await usablePlace(into, ports).absorb(into, { backing, absorbed }, { onProgress, signal })
}
