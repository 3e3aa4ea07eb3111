/**
 * Where the layers of a pool's volumes lie: beside them where the pool has qcow2 files, nowhere where it has snapshots of its own, and in
 * a pool of files for all others, such as logical volumes and LUNs.
 */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord } from '../../ports/store.ts'
import { requirePool } from './usable-pool.ts'

/** The pool that is always there (create-pool.ts). */
const usual = 'default'

type PoolPorts = Pick<Ports, 'pools' | 'store'>

/** The name of the pool of files that takes layers of a pool's volumes; undefined for one that needs none. */
export function layersIn(
  pool: Pick<PoolRecord, 'id' | 'source' | 'layersIn'>,
  { pools }: PoolPorts,
): string | undefined {
  const { formats, nativeSnapshots } = pools.of(pool).capabilities
  return formats.includes('qcow2') || nativeSnapshots ? undefined : (pool.layersIn ?? usual)
}

/** Refuses a pool for layers of another one's volumes. `bad-request`, `pool-not-found`, `unsupported`. */
export function requireLayersIn(
  pool: Pick<PoolRecord, 'id' | 'name' | 'source'>,
  name: string,
  ports: PoolPorts,
): void {
  if (layersIn(pool, ports) === undefined)
    throw new KvasirError(
      'bad-request',
      `Pool ${pool.name} has snapshots itself, so no other pool takes layers of its volumes.`,
    )
  requireFiles(name, ports)
}

/** Refuses a pool that has no qcow2 files. */
export function requireFiles(name: string, ports: PoolPorts): void {
  if (ports.pools.of(requirePool(name, ports)).capabilities.formats.includes('qcow2')) return
  throw new KvasirError('unsupported', `Pool ${name} has no qcow2 files, so it takes no layers.`, {
    details: { pool: name },
  })
}
