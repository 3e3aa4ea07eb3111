/**
 * Before a tool of QEMU opens a volume, its pool is asked for it: the tool would wait half a minute for what does not answer, and has
 * no words for it. A pool that is known to be unreachable says so at once.
 */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { placeName, usablePlace } from '../pools/usable-pool.ts'

/**
 * Asks before several volumes are worked on, so that what does not answer stops the work before the first of them is another. What is
 * amiss with one of them alone is left to the work: it may be what takes it away.
 */
export async function askPoolsOf(
  volumes: readonly VolumeRecord[],
  ports: Pick<Ports, 'pools' | 'store'>,
): Promise<void> {
  const asked = new Set<string>()
  for (const volume of volumes)
    await askPools(volume, ports, asked).catch((error: unknown) => {
      const isPool =
        error instanceof KvasirError && (error.code === 'pool-unreachable' || error.code === 'pool-inactive')
      if (isPool) throw error
    })
}

/** Asks for a volume and for what it lies on, but in no pool that was asked. `pool-unreachable`, `pool-inactive`. */
export async function askPools(
  volume: VolumeRecord,
  ports: Pick<Ports, 'pools' | 'store'>,
  asked = new Set<string>(),
): Promise<void> {
  let link: VolumeRecord | undefined = volume
  while (link) {
    const place = placeName(link)
    if (!asked.has(place)) {
      asked.add(place)
      const pool = usablePlace(link, ports)
      // The size of an image on a server is asked for more quickly than what it occupies; a file's header may be damaged.
      if (pool.source(link).kind === 'protocol') await pool.capacityBytes(link)
      else await pool.allocatedBytes(link)
    }
    link = link.baseId === undefined ? undefined : ports.store.volumes.get(link.baseId)
  }
}
