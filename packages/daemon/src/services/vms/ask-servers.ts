/**
 * Storage that QEMU speaks to itself is asked for before QEMU is told of it, at a start and when a disk is plugged: QEMU cannot say so as
 * well, and waits for longer, with its guest standing still, for a server that does not answer or a volume that is not there. Other
 * disks cost nothing here.
 */
import type { VmSpec } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import { usablePool } from '../pools/usable-pool.ts'

/** Asks the servers that disks lie on. `pool-unreachable`, `file-not-found`. */
export async function askServers({ disks }: Pick<VmSpec, 'disks'>, ports: Ports): Promise<void> {
  for (const disk of disks) {
    const volume = disk.volume === undefined ? undefined : ports.store.volumes.find(disk.pool, disk.volume)
    if (!volume) continue // Said by who looks for its files.
    const pool = usablePool(volume.pool, ports)
    if (pool.source(volume).kind === 'protocol') await pool.capacityBytes(volume)
  }
}
