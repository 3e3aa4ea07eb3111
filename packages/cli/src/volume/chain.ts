/** A volume's chain in words: what it is an overlay of, down to the image; and what a base carries. */
import type { Image, Volume } from '@kvasir/contract'

const shortIdLength = 12

/** What volumes and images there are, to name them by. */
export interface Shelf {
  readonly volumes: readonly Volume[]
  readonly images: readonly Image[]
}

/** The name of an image, or the beginning of an id that has none any more. */
export function imageName(id: string, images: readonly Image[]): string {
  return images.find((image) => image.id === id || image.name === id)?.name ?? id.slice(0, shortIdLength)
}

/** What lies under a volume, the nearest first: names of volumes, then `image NAME`. */
export function chainUnder(volume: Volume, { volumes, images }: Shelf): string[] {
  const chain: string[] = []
  let at: Volume | undefined = volume
  while (at?.base !== undefined && chain.length < volumes.length) {
    chain.push(at.base)
    const { base }: Volume = at
    at = volumes.find((candidate) => candidate.pool === volume.pool && candidate.name === base)
  }
  if (at?.image !== undefined) chain.push(`image ${imageName(at.image, images)}`)
  return chain
}

/** Who uses a volume, in words: VMs and snapshots by name, and overlays by number. */
export function usersOf(volume: Volume, volumes: readonly Volume[]): string | undefined {
  const overlays = volumes.filter((other) => other.base === volume.name && other.pool === volume.pool).length
  const words = [
    volume.usedBy.length > 0 ? `VM ${volume.usedBy.join(', ')}` : undefined,
    ...(volume.snapshots ?? []).map(({ vm, name }) => `snapshot ${name} of VM ${vm}`),
    overlays > 0 ? `base of ${overlays} volume${overlays === 1 ? '' : 's'}` : undefined,
  ]
  return words.filter((part) => part !== undefined).join('; ') || undefined
}
