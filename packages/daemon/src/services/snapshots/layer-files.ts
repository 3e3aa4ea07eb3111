/** The files that an emulator may have open because of its disks, by the store of now: its start knew only those of then. */
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { volumeChain } from '../volumes/volume-chain.ts'

/** The files of a VM's disks by the store, those too that came since its start. */
export function layerFiles({ id, spec }: VmRecord, ports: Ports): readonly string[] {
  const { store, files } = ports
  const chains = spec.disks.flatMap((disk) => {
    const volume = disk.volume === undefined ? undefined : store.volumes.findByName(disk.volume)
    return volume ? volumeChain(volume, ports).map((link) => link.path) : []
  })
  const passing = store.snapshots.ofVm(id).flatMap(({ layers }) => layers)
  return [
    ...chains,
    ...passing.flatMap(({ successorId }) => (successorId ? files.volumePath(successorId) : [])),
  ]
}
