/** The chain of a volume: every file that QEMU must open, the volume's own first, its last ancestor last. */
import { KvasirError } from '@kvasir/contract'
import type { VolumeSource } from './volume-source.ts'

/** Chains longer than this are refused; each link costs QEMU memory and time. */
export const maxChainLength = 64

export interface ChainVolume {
  readonly id: string
  readonly name: string
  readonly pool: string
  readonly format: 'qcow2' | 'raw'
  readonly file?: string | undefined
  readonly baseId: string | undefined
  readonly imageId: string | undefined
}

export interface ChainPlaces<Volume extends ChainVolume> {
  source(volume: Volume): VolumeSource
  imageDisk(imageId: string): string
}

/** The chain of `volume`. Throws `store-damaged` when an ancestor is unknown or the chain is a circle. */
export function chainOf<Volume extends ChainVolume>(
  volume: Volume,
  find: (id: string) => Volume | undefined,
  places: ChainPlaces<Volume>,
): readonly VolumeSource[] {
  const chain: VolumeSource[] = []
  let link: Volume | undefined = volume
  while (link) {
    if (chain.length >= maxChainLength)
      throw new KvasirError(
        'store-damaged',
        `Volume ${volume.name} has more than ${maxChainLength} ancestors, so its chain cannot be opened.`,
      )
    chain.push(places.source(link))
    if (link.imageId) chain.push({ path: places.imageDisk(link.imageId), format: 'qcow2' })
    const baseId: string | undefined = link.baseId
    if (!baseId) return chain
    link = find(baseId)
  }
  throw new KvasirError(
    'store-damaged',
    `An ancestor of volume ${volume.name} is not in the store, so it cannot be opened.`,
  )
}
