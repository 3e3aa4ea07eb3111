/** Who uses a volume: the VM whose spec names it or that was booted or saved with it, the volumes that are overlays of it, and the snapshot that it is a layer of. */
import { type DiskSpec, isReadOnly } from '@kvasir/contract'
import type { Store, VolumeRecord } from '../../ports/store.ts'
import { volumeWords } from './volume-words.ts'

/** The name of what uses a volume, in words; undefined when nobody does. `exceptVm` does not count. */
export function holderOf(volume: VolumeRecord, store: Store, exceptVm?: string): string | undefined {
  const [vm] = vmsUsing(volume, store).filter((user) => user.id !== exceptVm)
  return vm ? `VM ${vm.name}` : layerHolder(volume, store)
}

function layerHolder(volume: VolumeRecord, store: Store): string | undefined {
  const child = store.volumes.list().find((other) => other.baseId === volume.id)
  if (child) return `volume ${volumeWords(child)}`
  const snapshot = store.snapshots
    .list()
    .find(({ layers }) => layers.some(({ volumeId }) => volumeId === volume.id))
  return snapshot && `snapshot ${snapshot.name}`
}

/** The volume that a volume is an overlay or a linked clone of. */
export function originOf({ baseId, originId }: VolumeRecord, store: Store): VolumeRecord | undefined {
  const id = baseId ?? originId
  return id === undefined ? undefined : store.volumes.get(id)
}

/** The linked clones that still read the data of a volume, in words; undefined when there are none. */
export function clonesOf(volume: VolumeRecord, store: Store): string | undefined {
  const clones = store.volumes.list().filter((other) => other.originId === volume.id)
  return clones.length === 0 ? undefined : clones.map(volumeWords).join(', ')
}

/** Who else uses a volume, so that a disk cannot have it: nobody who only reads it as the disk does, or shares it as the disk does. */
export function holderBeside(
  disk: DiskSpec,
  volume: VolumeRecord,
  { vm, store }: { readonly vm: string; readonly store: Store },
): string | undefined {
  const others = vmsUsing(volume, store).filter(({ id }) => id !== vm)
  const mayBeside = (other: DiskSpec) =>
    (isReadOnly(disk) && isReadOnly(other)) || (disk.shareable === true && other.shareable === true)
  const rival = others.find(({ disks }) => !disks.every(mayBeside))
  return rival ? `VM ${rival.name}` : layerHolder(volume, store)
}

/** The VMs whose specs name a volume, or that still run with it, or were saved with it, after their specs were changed. */
export function vmsUsing(
  volume: VolumeRecord,
  store: Store,
): readonly { readonly id: string; readonly name: string; readonly disks: readonly DiskSpec[] }[] {
  return store.vms
    .list()
    .filter((row) => row.kind === 'vm')
    .map((row) => row.record)
    .map(({ id, name, spec, run, saved }) => {
      const all = [spec, run?.bootedSpec, saved?.booted?.spec].flatMap((one) => one?.disks ?? [])
      const disks = all.filter((disk) => disk.volume === volume.name && disk.pool === volume.pool)
      return { id, name, disks }
    })
    .filter(({ disks }) => disks.length > 0)
}
