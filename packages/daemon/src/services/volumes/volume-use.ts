/** Who uses a volume: the VM whose spec names it or that was booted or saved with it, the volumes that are overlays of it, and the snapshot that it is a layer of. */
import type { Store, VolumeRecord } from '../../ports/store.ts'
import { volumeWords } from './volume-words.ts'

/** The name of what uses a volume, in words; undefined when nobody does. `exceptVm` does not count. */
export function holderOf(volume: VolumeRecord, store: Store, exceptVm?: string): string | undefined {
  const [vm] = vmsUsing(volume, store).filter((user) => user.id !== exceptVm)
  if (vm) return `VM ${vm.name}`
  const child = store.volumes.list().find((other) => other.baseId === volume.id)
  if (child) return `volume ${volumeWords(child)}`
  const snapshot = store.snapshots
    .list()
    .find(({ layers }) => layers.some(({ volumeId }) => volumeId === volume.id))
  return snapshot && `snapshot ${snapshot.name}`
}

/** The VMs whose specs name a volume, or that still run with it, or were saved with it, after their specs were changed. */
export function vmsUsing(
  volume: VolumeRecord,
  store: Store,
): readonly { readonly id: string; readonly name: string }[] {
  return store.vms
    .list()
    .filter((row) => row.kind === 'vm')
    .map((row) => row.record)
    .filter(({ spec, run, saved }) =>
      [spec, run?.bootedSpec, saved?.booted?.spec].some((one) =>
        one?.disks.some((disk) => disk.volume === volume.name && disk.pool === volume.pool),
      ),
    )
}
