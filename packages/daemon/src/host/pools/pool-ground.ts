/** What a folder pool stands on, where that has to be laid first: a file system that is mounted for it. */
export interface PoolGround {
  /** Lays it where it is not there. Safe to repeat. Throws `GroundError`. */
  lay(): Promise<void>
  /** Takes it away, also where what it is made of does not answer. Safe to repeat. Throws `GroundError` while somebody uses it. */
  lift(): Promise<void>
  /** What to say when root may not do there what it wants to. */
  readonly forbidden: string
}

/** The ground of a pool is not to be had, in words that go into a sentence. */
export class GroundError extends Error {
  override readonly name = 'GroundError'
}
