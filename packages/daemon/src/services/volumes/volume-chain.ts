/** The files of a volume's chain on this host, its own first. */
import { chainOf } from '../../model/storage/chain.ts'
import type { ChainLink } from '../../ports/files.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'

/** Every file that must be opened to read a volume. */
export function volumeChain(volume: VolumeRecord, ports: Ports): readonly ChainLink[] {
  return chainOf(volume, (id) => ports.store.volumes.get(id), {
    volume: (id) => ports.files.volumePath(id),
    imageDisk: (id) => ports.images.paths(id).disk,
  })
}
