/**
 * What becomes of a layer whose snapshot is deleted. Pure: over rows of volumes.
 *
 * A layer that others lie on cannot just go. Where one alone does, and that one is this VM's, it takes in what the layer holds; where
 * several do, or a clone's does, the layer stays as a base that no snapshot names, until the last of them goes.
 *
 * A LUN or a logical volume whose layers lie elsewhere is where the disk belongs: the one that lies on it goes into it.
 */

/** As much of a volume as the decision needs. */
export interface LayerVolume {
  readonly id: string
  readonly baseId: string | undefined
  /** The pool of files that it lies in, where its own takes no layers. */
  readonly liesIn?: string | undefined
}

export type LayerFate<Volume extends LayerVolume> =
  | { readonly kind: 'remove' }
  | { readonly kind: 'stay' }
  | { readonly kind: 'merge'; readonly into: Volume }
  | { readonly kind: 'sink'; readonly from: Volume }

/** The fate of a layer. `own` are the ids of the VM's volumes: what its disks are on, and the layers of its snapshots. */
export function layerFate<Volume extends LayerVolume>(
  layer: LayerVolume,
  volumes: readonly Volume[],
  own: ReadonlySet<string>,
): LayerFate<Volume> {
  const [first, ...others] = volumes.filter((volume) => volume.baseId === layer.id)
  if (first === undefined) return { kind: 'remove' }
  if (others.length > 0 || !own.has(first.id)) return { kind: 'stay' }
  const isGround = layer.liesIn === undefined && first.liesIn !== undefined
  if (!isGround) return { kind: 'merge', into: first }
  const isShared = volumes.filter((volume) => volume.baseId === first.id).length > 1
  return isShared ? { kind: 'stay' } : { kind: 'sink', from: first }
}
