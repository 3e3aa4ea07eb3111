/** How a layer that comes to a running VM is opened: as the rest of its disk was. */
import type { VmSpec } from '@kvasir/contract'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import type { Ports } from '../../ports/ports.ts'
import { usablePool } from '../pools/usable-pool.ts'

/** The options of a disk's layers. */
export function layerOptions(disk: VmSpec['disks'][number], ports: Ports): LayerOptions {
  const { directIo, isGuarded } = usablePool(disk.pool, ports)
  return {
    direct: disk.cache === 'none' && ports.files.directIo && directIo,
    guarded: isGuarded,
    noFlush: disk.cache === 'unsafe',
    discard: disk.discard,
  }
}
