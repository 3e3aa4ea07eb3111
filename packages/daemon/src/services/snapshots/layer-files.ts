/** The files that an emulator may have open because of its disks, by the store of now: its start knew only those of then. */
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { pathOf } from '../volumes/volume-files.ts'

/** The files of a VM's disks by the store, those too that came since its start. */
export function layerFiles({ id, spec }: VmRecord, ports: Ports): readonly string[] {
  const { store } = ports
  const chains = spec.disks.flatMap((disk) => {
    const volume = disk.volume === undefined ? undefined : store.volumes.find(disk.pool, disk.volume)
    return volume
      ? volumeChain(volume, ports).flatMap((link) => (link.kind === 'protocol' ? [] : link.path))
      : []
  })
  const passing = store.snapshots.ofVm(id).flatMap(({ layers }) => layers)
  return [
    ...chains,
    ...passing.flatMap(({ successorId = '' }) => {
      const successor = store.volumes.get(successorId)
      return successor ? pathOf(successor, ports) : []
    }),
  ]
}
