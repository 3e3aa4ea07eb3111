/**
 * Pools after a restart of the daemon: those that were being created are undone, those that are to be started are, and what a former
 * daemon left unfinished in one is finished as soon as it answers. The default pool is settled with the VMs, before anything is served.
 */
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { isUnfinished } from '../volumes/expired-upload.ts'
import { holderOf } from '../volumes/volume-use.ts'
import { defaultPool, ensureDefaultPool, undoPool } from './create-pool.ts'
import { finishPoolDeletion } from './delete-pool.ts'
import { placeName } from './usable-pool.ts'

/** Brings the rows in order, before VMs are recovered. Asks no pool. */
export function preparePools({ ports }: Pick<Context, 'ports'>): void {
  const { store, bootId } = ports
  ensureDefaultPool(ports)
  for (const pool of store.pools.list())
    if (pool.phase === 'ready' && pool.bootId !== bootId)
      store.pools.update({ ...pool, bootId, started: pool.autostart || pool.name === defaultPool })
}

/** Undoes and finishes what was interrupted; pools that do not answer are gone on with when they do. */
export async function settlePools(context: Context): Promise<void> {
  const { ports } = context
  const unfinished = ports.store.pools.list().filter((pool) => pool.phase !== 'ready')
  for (const pool of unfinished) {
    try {
      if (pool.phase === 'creating') await undoPool(pool, context)
      else await finishPoolDeletion(pool, context)
    } catch (error) {
      ports.log.error({ pool: pool.name, err: error }, 'what was begun with a pool could not be finished')
    }
  }
}

/** Removes the volumes of a pool that were to be removed from it while it did not answer. */
export async function finishVolumesOf(pool: PoolRecord, context: Context): Promise<void> {
  const { store, log } = context.ports
  for (const volume of store.volumes.list()) {
    const isBegun = volume.phase === 'creating' // By this daemon: what the last one had begun says `deleting`.
    const isOver = (!isBegun && isUnfinished(volume, context)) || (volume.frozen && !holderOf(volume, store))
    if (placeName(volume) !== pool.name || volume.move || !isOver || !store.volumes.get(volume.id)) continue
    await removeVolume(volume, context).catch((error: unknown) =>
      log.error({ volume: volume.name, err: error }, 'a volume that is left could not be removed'),
    )
  }
}
