/**
 * The volumes of a VM's disks: planned together with the VM's row, made after it, ready with it. A row always exists before its
 * file, so that what an interrupted creation left can be found.
 */
import type { VmSpec } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { findImage, requireNotGone } from '../images/find-image.ts'
import { holderOf } from '../volumes/volume-use.ts'

export interface PlannedVolumes {
  /** The spec with every disk's volume named. */
  readonly spec: VmSpec
  /** Rows of the volumes to be made. */
  readonly rows: readonly VolumeRecord[]
}

/** Plans a volume for each disk that names none, and checks those that name one. */
export async function planVolumes(
  spec: VmSpec,
  vm: { readonly id: string; readonly name: string },
  ports: Ports,
): Promise<PlannedVolumes> {
  const rows: VolumeRecord[] = []
  const disks: VmSpec['disks'] = []
  const planned = new Set<string>()
  for (const disk of spec.disks) {
    if (disk.volume !== undefined) {
      const row = requireFreeVolume(disk.volume, vm, ports)
      const twin = disks.find((other) => other.volume === row.name)
      if (twin)
        throw new KvasirError(
          'bad-request',
          `Volume ${row.name} would be disk ${twin.name} and disk ${disk.name} of VM ${vm.name}, and two writers would damage it.`,
        )
      disks.push({ ...disk, volume: row.name })
      continue
    }
    const row = await planVolume(disk, vm, { ports, planned })
    planned.add(row.name)
    rows.push(row)
    disks.push({ ...disk, volume: row.name })
  }
  return { spec: { ...spec, disks }, rows }
}

function requireFreeVolume(
  name: string,
  vm: { readonly id: string; readonly name: string },
  ports: Ports,
): VolumeRecord {
  const row = ports.store.volumes.findByName(name)
  if (row?.phase !== 'ready') throw new KvasirError('volume-not-found', `There is no volume ${name}.`)
  const holder = row.frozen ? 'linked clones' : holderOf(row, ports.store, vm.id)
  if (holder)
    throw new KvasirError('in-use', `Volume ${name} is in use by ${holder}, so VM ${vm.name} cannot have it.`)
  return row
}

/**
 * Refuses a plan that was overtaken: a volume that it counts on went to another VM or was deleted, or an image was. Called in the
 * transaction that writes down who has them.
 */
export function requireStillFree(
  planned: PlannedVolumes,
  vm: { readonly id: string; readonly name: string },
  context: Context,
): void {
  const { spec, rows } = planned
  requireNotGone([spec.image, ...rows.map((row) => row.imageId)], context)
  const made = new Set(rows.map((row) => row.name))
  for (const { volume } of spec.disks)
    if (volume !== undefined && !made.has(volume)) requireFreeVolume(volume, vm, context.ports)
}

async function planVolume(
  disk: VmSpec['disks'][number],
  vm: { readonly id: string; readonly name: string },
  { ports, planned }: { readonly ports: Ports; readonly planned: ReadonlySet<string> },
): Promise<VolumeRecord> {
  const image = disk.image === undefined ? undefined : await findImage(disk.image, ports)
  const imageBytes = image?.disk?.virtualSizeBytes ?? 0
  const capacityBytes = disk.size ?? imageBytes
  if (capacityBytes < imageBytes)
    throw new KvasirError(
      'bad-request',
      `Disk ${disk.name} of VM ${vm.name} would be smaller than image ${image?.name ?? ''}, so the image does not fit.`,
      { details: { size: capacityBytes, imageSize: imageBytes } },
    )
  return {
    id: ports.clock.uuid(),
    name: freeVolumeName(`${vm.name}-${disk.name}`, ports, planned),
    pool: 'default',
    format: 'qcow2',
    capacityBytes,
    imageId: image?.id,
    baseId: undefined,
    phase: 'creating',
    frozen: false,
    madeForVm: vm.id,
    createdAt: ports.clock.now(),
  }
}

/** A name for a volume that no other has or is about to get: the wish, shortened where needed, with a number where it is taken. */
export function freeVolumeName(wish: string, ports: Ports, planned: ReadonlySet<string>): string {
  const stem = wish.slice(0, 56).replace(/[._-]+$/, '')
  const isFree = (name: string) => !planned.has(name) && !ports.store.volumes.findByName(name)
  if (isFree(stem)) return stem
  for (let number = 2; ; number++) {
    const name = `${stem}-${number}`
    if (isFree(name)) return name
  }
}

/** Makes the file of a planned volume. */
export async function makeVolumeFile(row: VolumeRecord, ports: Ports): Promise<void> {
  if (row.imageId === undefined && row.baseId === undefined) {
    await ports.files.createEmpty(row.id, row.capacityBytes)
    return
  }
  const base =
    row.imageId !== undefined
      ? { path: ports.images.paths(row.imageId).disk, format: 'qcow2' as const }
      : { path: ports.files.volumePath(row.baseId ?? ''), format: 'qcow2' as const }
  await ports.files.createOverlay(row.id, base, row.capacityBytes)
}
