/** Who uses a volume: the VM whose spec names it or that was booted or saved with it, the volumes that are overlays of it, and the snapshot that it is a layer of. */
import { type DiskSpec, isReadOnly } from '@kvasir/contract'
import type { Store, VmRecord, VolumeRecord } from '../../ports/store.ts'
import { volumeWords } from './volume-words.ts'

/** How many of those who use a volume are named. */
const mostNamed = 5

/** What uses a volume, in words that name it; undefined when nobody does. `exceptVm` does not count. */
export function holderOf(volume: VolumeRecord, store: Store, exceptVm?: string): string | undefined {
  const vms = vmsUsing(volume, store).filter((user) => user.id !== exceptVm)
  return inWords([...vms.map(({ name }) => `VM ${name}`), ...layerHolders(volume, store)])
}

function layerHolders(volume: VolumeRecord, store: Store): readonly string[] {
  const children = store.volumes.list().filter((other) => other.baseId === volume.id)
  return [
    ...children.map((child) => `volume ${volumeWords(child)}`),
    ...(snapshotsByLayer(store).get(volume.id) ?? []).map(({ vm, name }) => `snapshot ${name} of VM ${vm}`),
  ]
}

interface SnapshotName {
  readonly vm: string
  readonly name: string
}

/** Which snapshots have a volume as a layer, by its id. */
function snapshotsByLayer(store: Store): ReadonlyMap<string, readonly SnapshotName[]> {
  const all = store.snapshots.list().flatMap(({ name, vmId, layers }) => {
    const snapshot = { vm: nameOfVm(vmId, store), name }
    return [...new Set(layers.map(({ volumeId }) => volumeId))].map((id) => ({ id, snapshot }))
  })
  const byLayer = Map.groupBy(all, ({ id }) => id)
  return new Map([...byLayer].map(([id, found]) => [id, found.map(({ snapshot }) => snapshot)]))
}

function nameOfVm(id: string, store: Store): string {
  const row = store.vms.get(id)
  return row?.kind === 'vm' ? row.record.name : id
}

function inWords(names: readonly string[]): string | undefined {
  const more = names.length > mostNamed ? [`${names.length - mostNamed} more`] : []
  const all = [...names.slice(0, mostNamed), ...more]
  const last = all.pop()
  return all.length === 0 ? last : `${all.join(', ')} and ${last}`
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
  return rival ? `VM ${rival.name}` : inWords(layerHolders(volume, store))
}

/** Who uses which volume, looked up once for many of them. */
export interface VolumeUses {
  /** The overlays and linked clones of a volume. */
  overlaysOf(volume: VolumeRecord): readonly VolumeRecord[]
  /** The names of the VMs that use it. */
  vmsWith(volume: VolumeRecord): string[]
  /** The snapshots that it is a layer of. */
  snapshotsOn(volume: VolumeRecord): readonly SnapshotName[]
}

/** Who uses the volumes that there are now. */
export function volumeUses(store: Store): VolumeUses {
  const overlays = Map.groupBy(store.volumes.list(), ({ baseId, originId }) => baseId ?? originId)
  const users = new Map<string, Set<string>>()
  for (const row of store.vms.list()) {
    if (row.kind !== 'vm') continue
    for (const { pool, volume } of disksOf(row.record)) {
      if (volume === undefined) continue
      const key = volumeWords({ pool, name: volume })
      users.set(key, (users.get(key) ?? new Set()).add(row.record.name))
    }
  }
  const layers = snapshotsByLayer(store)
  return {
    overlaysOf: ({ id }) => overlays.get(id) ?? [],
    snapshotsOn: ({ id }) => layers.get(id) ?? [],
    vmsWith: (volume) => [...(users.get(volumeWords(volume)) ?? [])],
  }
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
    .map((record) => {
      const { id, name } = record
      const disks = disksOf(record).filter((disk) => disk.volume === volume.name && disk.pool === volume.pool)
      return { id, name, disks }
    })
    .filter(({ disks }) => disks.length > 0)
}

/** The disks of the specs that a VM has, runs by and was saved with. */
function disksOf({ spec, run, saved }: VmRecord): readonly DiskSpec[] {
  return [spec, run?.bootedSpec, saved?.booted?.spec].flatMap((one) => one?.disks ?? [])
}
