/**
 * Before a tool of QEMU opens a volume, its pool is asked for it: the tool would wait half a minute for what does not answer, and has
 * no words for it. A pool that is known to be unreachable says so at once.
 */
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { placeName, usablePlace } from '../pools/usable-pool.ts'

/** Asks for a volume and for what it lies on. `pool-unreachable`, `pool-inactive`. */
export async function askPools(volume: VolumeRecord, ports: Pick<Ports, 'pools' | 'store'>): Promise<void> {
  const asked = new Set<string>()
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
