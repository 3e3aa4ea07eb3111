/**
 * Deletes a pool: its row says `deleting` first, and whether its volumes go too, so that who deletes it again, or the next daemon that
 * finds it reachable, goes on.
 */
import { KvasirError } from '@kvasir/contract'
import type { PoolRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { requireNoneHeld } from '../volumes/hold-file.ts'
import { requireNoWork } from '../volumes/hold-volume.ts'
import { giveBackAll } from '../volumes/taken-files.ts'
import { vmsUsing } from '../volumes/volume-use.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { defaultPool } from './create-pool.ts'

/** Deletes a pool of which no VM uses a volume. `in-use` names those that do. */
export async function deletePool(
  pool: PoolRecord,
  context: Context,
  options: { readonly removesData: boolean },
): Promise<void> {
  const { ports } = context
  if (pool.name === defaultPool)
    throw new KvasirError(
      'in-use',
      'The pool default is where the daemon keeps its own, so it is not deleted.',
    )
  if (pool.phase === 'deleting') {
    // Who gives up a place that is gone for good asks to keep what may lie there.
    await finishPoolDeletion({ ...pool, removesData: pool.removesData && options.removesData }, context)
    return
  }
  requireUnused(pool, context)
  requireNoneHeld(pool, context)
  if (options.removesData) await ports.pools.of(pool).inspect() // Refused now rather than stuck half way.
  await ports.failpoint('pool.delete.before-phase')
  const deleting = beginDeletion(pool, context, options)
  await ports.failpoint('pool.delete.after-phase')
  await finishPoolDeletion(deleting, context)
}

/** Removes all that is left of a pool whose phase is `deleting`. Safe to repeat. */
export async function finishPoolDeletion(pool: PoolRecord, context: Context): Promise<void> {
  const { ports, pools } = context
  const { store, failpoint } = ports
  if (pool.removesData)
    for (const volume of leavesFirst(volumesOf(pool, context))) await removeVolume(volume, context)
  await failpoint('pool.delete.after-volumes')
  await giveBackAll(pool, ports)
  await ports.pools
    .of(pool)
    .release()
    .catch((error: unknown) => {
      // What lies there is to be kept, and its place may be gone for good: the row goes all the same.
      if (pool.removesData) throw error
      ports.log.warn({ pool: pool.name, err: error }, 'the mark of a pool could not be taken away')
    })
  await failpoint('pool.delete.after-release')
  store.transaction(() => {
    for (const volume of volumesOf(pool, context)) {
      store.volumes.remove(volume.id)
      context.emit('volume.deleted', volumeWords(volume), { id: volume.id, kept: true })
    }
    store.pools.remove(pool.id)
    context.emit('pool.deleted', pool.name, { id: pool.id })
  })
  pools.forget(pool)
  await failpoint('pool.delete.after-row')
}

/** Writes down that a pool goes, as it is by now: nobody has begun anything with it meanwhile. */
function beginDeletion(
  pool: PoolRecord,
  context: Context,
  options: { readonly removesData: boolean },
): PoolRecord {
  const { store } = context.ports
  return store.transaction(() => {
    const now = store.pools.get(pool.id)
    if (!now) throw new KvasirError('pool-not-found', `There is no pool ${pool.name} any more.`)
    requireUnused(now, context)
    requireNoneHeld(now, context)
    const deleting: PoolRecord = { ...now, phase: 'deleting', started: false, ...options }
    store.pools.update(deleting)
    return deleting
  })
}

function requireUnused(pool: PoolRecord, context: Context): void {
  const { store } = context.ports
  const guest = store.volumes.list().find(({ liesIn }) => liesIn === pool.name)
  if (guest)
    throw new KvasirError(
      'in-use',
      `A layer of volume ${volumeWords(guest)} lies in pool ${pool.name}, so the pool is not deleted.`,
    )
  for (const volume of volumesOf(pool, context)) {
    requireNoWork(volume)
    const [vm] = vmsUsing(volume, store)
    if (vm)
      throw new KvasirError(
        'in-use',
        `Volume ${volumeWords(volume)} is in use by VM ${vm.name}, so pool ${pool.name} is not deleted.`,
      )
    const child = store.volumes.list().find((other) => other.baseId === volume.id && other.pool !== pool.name)
    if (child)
      throw new KvasirError(
        'in-use',
        `Volume ${volumeWords(child)} is based on ${volumeWords(volume)}, so pool ${pool.name} is not deleted.`,
      )
  }
}

function volumesOf(pool: PoolRecord, { ports }: Context): readonly VolumeRecord[] {
  return ports.store.volumes.list().filter((volume) => volume.pool === pool.name)
}

/** Overlays before what they are based on, so that a volume that is still there can always be opened. */
function leavesFirst(volumes: readonly VolumeRecord[]): readonly VolumeRecord[] {
  const rest = new Map(volumes.map((volume) => [volume.id, volume]))
  const ordered: VolumeRecord[] = []
  while (rest.size > 0) {
    const bases = new Set([...rest.values()].map(({ baseId }) => baseId))
    const leaves = [...rest.values()].filter(({ id }) => !bases.has(id))
    if (leaves.length === 0) return [...ordered, ...rest.values()] // A circle, which no chain has.
    for (const leaf of leaves) {
      rest.delete(leaf.id)
      ordered.push(leaf)
    }
  }
  return ordered
}
