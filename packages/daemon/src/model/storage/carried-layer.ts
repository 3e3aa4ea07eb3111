/**
 * What the layers that a disk's snapshots are become in the pool that the disk moves to. Pure.
 *
 *     the pool has               what lies on nothing       what lies on another layer
 *     qcow2 files                as it is, on its image     qcow2 over the copy of that
 *     snapshots of its own       raw: all that it shows     raw: a clone of the copy of that, into which goes what it has itself
 *     neither (LVM, NFS ...)     raw: all that it shows     qcow2 over the copy of that, in a pool of files
 *
 * So a layer is in its new pool what it would be had the snapshot been taken there; and what shared space before does so again, but for
 * layers that come from a pool with snapshots of its own, each of which is a whole volume there, and of which nobody tells the differences.
 */

/** What a pool does for snapshots; `liesIn` is the pool of files that takes the layers of one that has neither. */
export type LayersPlace =
  | { readonly kind: 'files' }
  | { readonly kind: 'native' }
  | { readonly kind: 'ground'; readonly liesIn: string }

/** What a copy of a layer is. */
export interface CarriedLayer {
  readonly format: 'qcow2' | 'raw'
  readonly liesIn?: string
  /** It goes on being an overlay of its image. */
  readonly keepsImage: boolean
  /** How it has what the layer below has. */
  readonly on: 'nothing' | 'overlay' | 'clone'
}

/** What a layer becomes there. */
export function carriedLayer(
  { format, baseId }: { readonly format: 'qcow2' | 'raw'; readonly baseId: string | undefined },
  place: LayersPlace,
): CarriedLayer {
  if (place.kind === 'native')
    return { format: 'raw', keepsImage: false, on: baseId === undefined ? 'nothing' : 'clone' }
  if (place.kind === 'files') {
    if (baseId === undefined) return { format, keepsImage: true, on: 'nothing' }
    return { format: 'qcow2', keepsImage: false, on: 'overlay' }
  }
  if (baseId === undefined) return { format: 'raw', keepsImage: false, on: 'nothing' }
  return { format: 'qcow2', liesIn: place.liesIn, keepsImage: false, on: 'overlay' }
}
