/**
 * What others made and is taken for a volume, until it is one: how it was is written down with its pool before anything of it is changed,
 * so that whoever ends an import, or the daemon, leaves it as it was.
 */
import { KvasirError } from '@kvasir/contract'
import type { TakenFile } from '../../ports/pool-source.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { backendOf } from '../pools/usable-pool.ts'

/** Writes down how something was. */
export function noteTaken(pool: string, taken: TakenFile, { store }: Pick<Ports, 'store'>): void {
  store.transaction(() => {
    const record = store.pools.findByName(pool)
    if (!record) throw new KvasirError('pool-not-found', `There is no pool ${pool} any more.`)
    store.pools.update({ ...record, taken: [...(record.taken ?? []), taken] })
  })
}

/** It is a volume now, or as it was. */
export function forgetTaken(pool: string, id: string, { store }: Pick<Ports, 'store'>): void {
  store.transaction(() => {
    const record = store.pools.findByName(pool)
    if (!record?.taken?.some((one) => one.id === id)) return
    const { taken, ...rest } = record
    const left = taken.filter((one) => one.id !== id)
    store.pools.update(left.length === 0 ? rest : { ...rest, taken: left })
  })
}

/** Leaves what was taken as it was found; where that cannot be, the next daemon does. */
export async function giveBackTaken(
  pool: string,
  { id, file, before }: TakenFile,
  ports: Ports,
): Promise<void> {
  try {
    await backendOf({ pool }, ports).giveBack?.(file, before)
    forgetTaken(pool, id, ports)
  } catch (err) {
    ports.log.error({ pool, file, err }, 'what was not imported could not be given back as it was')
  }
}

/** What former daemons had taken, by the ids of the volumes that it would be. */
export function leftTaken({ store }: Pick<Ports, 'store'>): Set<string> {
  return new Set(store.pools.list().flatMap(({ taken = [] }) => taken.map(({ id }) => id)))
}

/** Gives back what a former daemon had taken in a pool that answers. */
export async function settleTaken(pool: PoolRecord, left: Set<string>, { ports }: Context): Promise<void> {
  for (const taken of ports.store.pools.get(pool.id)?.taken ?? []) {
    if (!left.delete(taken.id)) continue
    await giveBackTaken(pool.name, taken, ports)
  }
}
