import { HandsError } from './pool-hands.ts'

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

/** ESTALE: what was mounted is not there any more, although its server answers. */
const stale = '116'

/**
 * Does what needs the ground. One that has gone stale, since it was made anew where it comes from, is taken away and laid once more; it
 * stays as it is while somebody has something of it open.
 */
export async function onGround<T>(ground: PoolGround | undefined, work: () => Promise<T>): Promise<T> {
  if (ground === undefined) return await work()
  await ground.lay()
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof HandsError) || error.words[0] !== stale) throw error
    await ground.lift()
    await ground.lay()
    return await work()
  }
}
