/** What a former daemon had begun with volumes and not finished: their rows are made to say what is. */
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { backendOf, placeName } from '../pools/usable-pool.ts'
import { volumeWords } from './volume-words.ts'

/** The volumes that something was being done to when the last daemon ended. */
export function unsettledWork({ ports }: Pick<Context, 'ports'>): Set<string> {
  return new Set(ports.store.volumes.list().flatMap(({ id, work }) => (work === undefined ? [] : [id])))
}

/** Settles those of a pool that answers. Copies are undone by their own rows; a capacity is what the file says. */
export async function settleWork(pool: PoolRecord, unsettled: Set<string>, context: Context): Promise<void> {
  const { store, log } = context.ports
  for (const volume of store.volumes.list()) {
    if (placeName(volume) !== pool.name || !unsettled.has(volume.id)) continue
    if (volume.work === 'flattened') continue // Gone on with.
    if (volume.move) {
      unsettled.delete(volume.id) // Settled with its VM.
      continue
    }
    if (volume.work === 'filled') {
      freeFilled(volume, context.ports)
      unsettled.delete(volume.id)
      continue
    }
    if (store.volumes.list().some(({ move }) => move?.fromId === volume.id)) continue // Settled with its VM.
    try {
      const { work, ...rest } = volume
      const capacityBytes = work === 'resized' ? await capacityOf(volume, context) : rest.capacityBytes
      store.volumes.update({ ...rest, capacityBytes })
      unsettled.delete(volume.id)
    } catch (error) {
      log.error({ volume: volume.name, err: error }, 'what was begun with a volume could not be settled')
    }
  }
}

/** A volume that was being filled, and is not any more: some of what it held before may be there, and some of what was copied. */
export function freeFilled(volume: VolumeRecord, { store, log }: Pick<Ports, 'store' | 'log'>): void {
  const { work: _, ...free } = volume
  store.volumes.update(free)
  log.warn(
    { volume: volumeWords(volume) },
    'a disk was being moved into a volume, which was broken off; what the volume holds is undefined',
  )
}

async function capacityOf(volume: VolumeRecord, { ports }: Context): Promise<number> {
  return await backendOf(volume, ports).capacityBytes(volume)
}
