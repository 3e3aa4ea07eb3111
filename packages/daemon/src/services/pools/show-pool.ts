/** A pool as the API shows it. Everything here is known already. */
import type { Pool } from '@kvasir/contract'
import { judgePool } from '../../model/storage/pool-health.ts'
import type { PoolSpace } from '../../ports/pools.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { layersIn } from './layers-place.ts'
import { placeName } from './usable-pool.ts'

/** What the API says of the room in a pool. */
export function roomOf({ capacityBytes, allocatedBytes, availableBytes }: PoolSpace) {
  return { capacityBytes, allocatedBytes, availableBytes }
}

/** The API's view of a pool. */
export function showPool(pool: PoolRecord, { ports, pools }: Pick<Context, 'ports' | 'pools'>): Pool {
  const seen = pools.seen(pool)
  const volumes = ports.store.volumes.list().filter((volume) => placeName(volume) === pool.name)
  const made = volumes.filter((volume) => volume.phase === 'ready')
  const provisionedBytes = made.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0)
  const missing = (seen.findings ?? []).flatMap(({ kind, volume }) =>
    kind === 'missing' && volume !== undefined ? [volume] : [],
  )
  const { health, remarks } = judgePool({
    space: seen.state === 'active' ? seen.space : undefined,
    provisionedBytes,
    missing,
  })
  const { path, place, capabilities } = ports.pools.of(pool)
  return {
    name: pool.name,
    type: pool.source.type,
    ...(path === undefined ? {} : { path }),
    place,
    state: seen.state,
    reason: pool.phase === 'deleting' ? 'it is being deleted; delete it again to go on' : seen.reason,
    since: seen.since,
    ...shownLayers(pool, ports),
    autostart: pool.autostart,
    ...(seen.space && roomOf(seen.space)),
    provisionedBytes,
    volumes: made.length,
    health,
    remarks: [...remarks],
    ...(seen.seenAt === undefined ? {} : { seenAt: seen.seenAt }),
    ...(seen.findings === undefined ? {} : { findings: [...seen.findings] }),
    capabilities: { ...capabilities, formats: [...capabilities.formats] },
    createdAt: pool.createdAt,
  }
}

function shownLayers(pool: PoolRecord, ports: Context['ports']): Pick<Pool, 'layersIn'> {
  const name = layersIn(pool, ports)
  return name === undefined ? {} : { layersIn: name }
}
