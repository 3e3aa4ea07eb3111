/** The files that an emulator may have open because of its disks, by the store of now: its start knew only those of then. */
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import { movesOf } from '../moves/move-rows.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { pathOf } from '../volumes/volume-files.ts'

/** The files of a VM's disks by the store, those too that came since its start. */
export function layerFiles({ id, spec }: VmRecord, ports: Ports): readonly string[] {
  const { store } = ports
  const filesOf = (volume: VolumeRecord | undefined) =>
    volume ? volumeChain(volume, ports).flatMap((link) => (link.kind === 'protocol' ? [] : link.path)) : []
  const chains = spec.disks.flatMap((disk) =>
    disk.volume === undefined ? [] : filesOf(store.volumes.find(disk.pool, disk.volume)),
  )
  const passing = store.snapshots.ofVm(id).flatMap(({ layers }) => layers)
  return [
    ...chains,
    ...movesOf(id, store).flatMap((copy) => [copy, store.volumes.get(copy.move.fromId)].flatMap(filesOf)),
    ...passing.flatMap(({ successorId, sunkId }) =>
      [successorId, sunkId].flatMap((id) => {
        const volume = id === undefined ? undefined : store.volumes.get(id)
        return volume ? pathOf(volume, ports) : []
      }),
    ),
  ]
}
