/**
 * Storage that QEMU speaks to itself is asked for before QEMU is told of it, at a start and when a disk is plugged: QEMU cannot say so as
 * well, and waits for longer, with its guest standing still, for a server that does not answer or a volume that is not there. Other
 * disks cost nothing here. A LUN that was made larger is seen so by the guest, so its volume has that size from then on.
 */
import { isReadOnly, type VmSpec } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { usablePlace } from '../pools/usable-pool.ts'

/** Asks the servers that disks lie on. `pool-unreachable`, `file-not-found`, `in-use` for a volume that another has locked. */
export async function askServers({ disks }: Pick<VmSpec, 'disks'>, ports: Ports): Promise<void> {
  for (const disk of disks) {
    let volume = disk.volume === undefined ? undefined : ports.store.volumes.find(disk.pool, disk.volume)
    for (let isTop = true; volume; isTop = false) {
      await askServer(volume, isTop && !isReadOnly(disk), ports)
      const { baseId }: VolumeRecord = volume
      volume = baseId === undefined ? undefined : ports.store.volumes.get(baseId)
    }
  }
}

async function askServer(volume: VolumeRecord, isWritten: boolean, ports: Ports): Promise<void> {
  const pool = usablePlace(volume, ports)
  if (pool.source(volume).kind !== 'protocol') return
  const locked = isWritten ? pool.requireUnlocked?.(volume) : undefined
  locked?.catch(() => {}) // Whether it is there is said first.
  const capacityBytes = await pool.capacityBytes(volume)
  await locked
  if (isWritten && pool.isSizedByOthers && capacityBytes > volume.capacityBytes)
    ports.store.volumes.update({ ...volume, capacityBytes })
}
