/** Whether a volume can be called something. */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import { volumeWords } from './volume-words.ts'

/** `name-taken`, also while the volume that had the name is not gone from its pool, which may take as long as that does not let go of it. */
export function requireFreeName(
  place: { readonly pool: string; readonly name: string },
  { store }: Pick<Ports, 'store'>,
): void {
  const there = store.volumes.find(place.pool, place.name)
  if (!there) return
  const words = volumeWords(place)
  throw new KvasirError(
    'name-taken',
    there.phase === 'deleting'
      ? `Volume ${words} is still being removed; its name can be given again when it is gone.`
      : `There is a volume ${words} already.`,
  )
}

/** A job that left a volume has ended a little before that is gone. */
const goneWithinMs = 10_000
const lookAgainMs = 50

/** Waits for the volume that had a name, while it is being removed, and no longer than ten seconds. */
export async function awaitFreeName(
  { pool, name }: { readonly pool: string; readonly name: string },
  { store, clock }: Pick<Ports, 'store' | 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  const untilMs = clock.monotonicMs() + goneWithinMs
  while (store.volumes.find(pool, name)?.phase === 'deleting' && clock.monotonicMs() < untilMs)
    await clock.sleep(lookAgainMs, signal)
}
