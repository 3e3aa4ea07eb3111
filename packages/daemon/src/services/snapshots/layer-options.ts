/** How a layer that comes to a running VM is opened: as the rest of its disk was. */
import type { VmSpec } from '@kvasir/contract'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import type { Ports } from '../../ports/ports.ts'
import { usablePool } from '../pools/usable-pool.ts'

/** The options of a disk's layers. */
export function layerOptions(disk: VmSpec['disks'][number], ports: Ports): LayerOptions {
  return {
    direct: disk.cache === 'none' && ports.files.directIo && usablePool(disk.pool, ports).directIo,
    noFlush: disk.cache === 'unsafe',
    discard: disk.discard,
  }
}
