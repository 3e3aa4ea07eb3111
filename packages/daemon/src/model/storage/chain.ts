/** The chain of a volume: every file that QEMU must open, the volume's own first, its last ancestor last. */
import { KvasirError } from '@kvasir/contract'

/** Chains longer than this are refused; each link costs QEMU memory and time. */
export const maxChainLength = 64

export interface ChainVolume {
  readonly id: string
  readonly name: string
  readonly format: 'qcow2' | 'raw'
  readonly baseId: string | undefined
  readonly imageId: string | undefined
}

export interface ChainPaths {
  volume(id: string): string
  imageDisk(imageId: string): string
}

/** The chain of `volume`. Throws `store-damaged` when an ancestor is unknown or the chain is a circle. */
export function chainOf(
  volume: ChainVolume,
  find: (id: string) => ChainVolume | undefined,
  paths: ChainPaths,
): readonly { readonly path: string; readonly format: 'qcow2' | 'raw' }[] {
  const chain: { path: string; format: 'qcow2' | 'raw' }[] = []
  let link: ChainVolume | undefined = volume
  while (link) {
    if (chain.length >= maxChainLength)
      throw new KvasirError(
        'store-damaged',
        `Volume ${volume.name} has more than ${maxChainLength} ancestors, so its chain cannot be opened.`,
      )
    chain.push({ path: paths.volume(link.id), format: link.format })
    if (link.imageId) chain.push({ path: paths.imageDisk(link.imageId), format: 'qcow2' })
    const baseId: string | undefined = link.baseId
    if (!baseId) return chain
    link = find(baseId)
  }
  throw new KvasirError(
    'store-damaged',
    `An ancestor of volume ${volume.name} is not in the store, so it cannot be opened.`,
  )
}
