/** The chain of a volume on this host, its own source first. */
import { chainOf } from '../../model/storage/chain.ts'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { sourceOf } from './volume-files.ts'

/** All that must be opened to read a volume. Asks no pool whether it is there. */
export function volumeChain(volume: VolumeRecord, ports: Ports): readonly VolumeSource[] {
  return chainOf<VolumeRecord>(volume, (id) => ports.store.volumes.get(id), {
    source: (link) => sourceOf(link, ports),
    imageDisk: (id) => ports.images.paths(id).disk,
  })
}
