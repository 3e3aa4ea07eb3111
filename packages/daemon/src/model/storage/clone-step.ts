/**
 * What is to be done next to make an RBD image a clone of what another one held. On a slow cluster a command may end as if nothing had
 * come of it, and be carried out after all; so what is there is looked at before each attempt, and that decides.
 *
 * What was kept is a snapshot of the origin, named for the copy. Not here: how anything is asked or done (host/pools/rbd-images.ts).
 */

export interface CloneSight {
  /** Something was kept before this call: the copy is of that moment, and of no later one. */
  readonly wasKept: boolean
  readonly isKept: boolean
  /** `whole`: it reads through what was kept, and that knows of it. */
  readonly copy: 'none' | 'partial' | 'whole'
  /** Nothing was done in this call yet, so what bears the name is somebody else's or an earlier attempt's. */
  readonly isFirst: boolean
}

export type CloneStep =
  /** The copy is there; what was kept can go. */
  | 'let-go'
  | 'clone'
  /** What an attempt left is removed, and then as for `clone`. */
  | 'remove-and-clone'
  | 'keep-and-clone'
  | 'remove-keep-and-clone'
  /** There is an image of the name that nobody here made. */
  | 'name-taken'
  /** The moment is gone that the copy was to be of. */
  | 'lost'

/** The next step. A moment that was kept is never replaced by a later one. */
export function cloneStep({ wasKept, isKept, copy, isFirst }: CloneSight): CloneStep {
  if (isKept) {
    if (copy === 'whole') return 'let-go'
    return copy === 'none' ? 'clone' : 'remove-and-clone'
  }
  if (isFirst) return copy === 'none' ? 'keep-and-clone' : 'name-taken'
  if (copy === 'whole') return 'let-go'
  if (wasKept) return 'lost'
  return copy === 'none' ? 'keep-and-clone' : 'remove-keep-and-clone'
}
