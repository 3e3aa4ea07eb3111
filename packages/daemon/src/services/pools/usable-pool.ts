/** From the name of a pool to what can be asked of it. */
import { KvasirError } from '@kvasir/contract'
import type { PoolBackend } from '../../ports/pools.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord, VolumeRecord } from '../../ports/store.ts'

type PoolPorts = Pick<Ports, 'pools' | 'store'>

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

/** What a volume lies in, whether its pool is started or not. */
export function backendOf(volume: Pick<VolumeRecord, 'pool'>, ports: PoolPorts): PoolBackend {
  return ports.pools.of(requirePool(volume.pool, ports))
}
