/** From the name of a pool to what can be asked of it. */
import { KvasirError } from '@kvasir/contract'
import type { PoolBackend } from '../../ports/pools.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord, VolumeRecord } from '../../ports/store.ts'

type PoolPorts = Pick<Ports, 'pools' | 'store'>
type Placed = Pick<VolumeRecord, 'pool' | 'liesIn'>

/** The row of a pool. `pool-not-found` when there is none. */
export function requirePool(name: string, { store }: Pick<Ports, 'store'>): PoolRecord {
  const pool = store.pools.findByName(name)
  if (pool && pool.phase !== 'creating') return pool
  throw new KvasirError('pool-not-found', `There is no pool ${name}.`)
}

/** A pool whose volumes can be used. `pool-not-found`, or `pool-inactive` for one that is not started. */
export function usablePool(name: string, ports: PoolPorts): PoolBackend {
  const pool = requirePool(name, ports)
  if (pool.phase === 'ready' && pool.started) return ports.pools.of(pool)
  const why = pool.phase === 'deleting' ? 'is being deleted' : 'is not started'
  throw new KvasirError('pool-inactive', `Pool ${name} ${why}, so nothing in it can be used.`, {
    details: { pool: name },
  })
}

/** The pool that a volume lies in: its own, but for a layer that its own has no room for. */
export function placeName({ liesIn, pool }: Placed): string {
  return liesIn ?? pool
}

/** What a volume lies in, if that can be used. `pool-not-found`, `pool-inactive`. */
export function usablePlace(volume: Placed, ports: PoolPorts): PoolBackend {
  return usablePool(placeName(volume), ports)
}

/** What a volume lies in, whether its pool is started or not. */
export function backendOf(volume: Placed, ports: PoolPorts): PoolBackend {
  return ports.pools.of(requirePool(placeName(volume), ports))
}
