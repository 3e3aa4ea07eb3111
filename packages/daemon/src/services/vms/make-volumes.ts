/**
 * The volumes of a VM's disks: planned together with the VM's row, made after it, ready with it. A row always exists before its
 * file, so that what an interrupted creation left can be found.
 */
import { isCdrom, KvasirError, type VmSpec } from '@kvasir/contract'
import { requireDiskSize } from '../../model/storage/disk-size.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { findImage, requireNotGone } from '../images/find-image.ts'
import { requirePool, usablePool } from '../pools/usable-pool.ts'
import { requireNoWork } from '../volumes/hold-volume.ts'
import { formatIn } from '../volumes/volume-format.ts'
import { holderBeside } from '../volumes/volume-use.ts'
import { volumeWords } from '../volumes/volume-words.ts'

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
  for (const { pool } of spec.disks) requirePool(pool, ports)
  const rows: VolumeRecord[] = []
  const disks: VmSpec['disks'] = []
  const planned = new Set<string>()
  for (const disk of spec.disks) {
    if (isCdrom(disk) && disk.volume === undefined) {
      disks.push(disk)
      continue
    }
    if (disk.volume !== undefined) {
      const row = requireFreeVolume(disk, { vm, ports })
      requireItsFormat(disk, row, { vm, ports })
      const twin = disks.find((other) => other.pool === row.pool && other.volume === row.name)
      if (twin)
        throw new KvasirError(
          'bad-request',
          `Volume ${row.name} would be disk ${twin.name} and disk ${disk.name} of VM ${vm.name}, and two writers would damage it.`,
        )
      disks.push({ ...disk, volume: row.name })
      continue
    }
    usablePool(disk.pool, ports)
    const row = await planVolume(disk, vm, { ports, planned })
    planned.add(volumeWords(row))
    rows.push(row)
    disks.push({ ...disk, volume: row.name })
  }
  return { spec: { ...spec, disks }, rows }
}

function requireFreeVolume(
  disk: VmSpec['disks'][number],
  { vm, ports }: { readonly vm: { readonly id: string; readonly name: string }; readonly ports: Ports },
): VolumeRecord {
  const { pool, volume = '' } = disk
  const name = volumeWords({ pool, name: volume })
  const row = ports.store.volumes.find(pool, volume)
  if (row?.phase === 'uploading')
    throw new KvasirError('busy', `Volume ${name} is being uploaded, so VM ${vm.name} cannot have it yet.`)
  if (row?.phase !== 'ready') throw new KvasirError('volume-not-found', `There is no volume ${name}.`)
  requireNoWork(row)
  if (disk.shareable && row.format !== 'raw')
    throw new KvasirError(
      'bad-request',
      `Volume ${name} is ${row.format}, which has tables that only one writer may change, so disk ${disk.name} of VM ${vm.name} cannot be shareable.`,
    )
  const holder = row.frozen ? 'linked clones' : holderBeside(disk, row, { vm: vm.id, store: ports.store })
  if (holder)
    throw new KvasirError('in-use', `Volume ${name} is in use by ${holder}, so VM ${vm.name} cannot have it.`)
  return row
}

/**
 * A volume that is there has its format. Said of a disk that the VM has, `format` is how its volume was made, whatever became of that by
 * snapshots and moves.
 */
function requireItsFormat(
  disk: VmSpec['disks'][number],
  row: VolumeRecord,
  { vm, ports }: { readonly vm: { readonly id: string; readonly name: string }; readonly ports: Ports },
): void {
  if (disk.format === undefined || disk.format === row.format) return
  const known = ports.store.vms.get(vm.id)
  const before = known?.kind === 'vm' ? known.record.spec.disks : []
  if (before.some(({ name, pool, volume }) => name === disk.name && pool === row.pool && volume === row.name))
    return
  throw new KvasirError(
    'bad-request',
    `Volume ${volumeWords(row)} is ${row.format}, so disk ${disk.name} of VM ${vm.name} has no format ${disk.format}; only a volume that is made for a disk is given one.`,
  )
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
  const made = new Set(rows.map(volumeWords))
  for (const disk of spec.disks) {
    const { pool, volume } = disk
    if (volume !== undefined && !made.has(volumeWords({ pool, name: volume })))
      requireFreeVolume(disk, { vm, ports: context.ports })
  }
  for (const row of rows) usablePool(row.pool, context.ports)
}

async function planVolume(
  disk: VmSpec['disks'][number],
  vm: { readonly id: string; readonly name: string },
  { ports, planned }: { readonly ports: Ports; readonly planned: ReadonlySet<string> },
): Promise<VolumeRecord> {
  const image = disk.image === undefined ? undefined : await findImage(disk.image, ports)
  const imageBytes = image?.disk?.virtualSizeBytes ?? 0
  const capacityBytes = disk.size ?? imageBytes
  const words = `Disk ${disk.name} of VM ${vm.name}`
  requireDiskSize(words, capacityBytes)
  if (capacityBytes < imageBytes)
    throw new KvasirError(
      'bad-request',
      `${words} would be smaller than image ${image?.name ?? ''}, so the image does not fit.`,
      { details: { size: capacityBytes, imageSize: imageBytes } },
    )
  return {
    id: ports.clock.uuid(),
    name: freeVolumeName({ pool: disk.pool, name: `${vm.name}-${disk.name}` }, ports, planned),
    pool: disk.pool,
    // Several writers cannot share the tables of a qcow2.
    format: formatIn(disk.pool, { asked: disk.shareable ? 'raw' : disk.format }, ports),
    capacityBytes,
    imageId: image?.id,
    baseId: undefined,
    phase: 'creating',
    frozen: false,
    madeForVm: vm.id,
    createdAt: ports.clock.now(),
  }
}

/**
 * A name for a volume that no other of its pool has or is about to get: the wish, shortened where needed, with a number where it is
 * taken. `planned` holds the words of volumes.
 */
export function freeVolumeName(
  { pool, name: wish }: { readonly pool: string; readonly name: string },
  ports: Ports,
  planned: ReadonlySet<string>,
): string {
  const stem = wish.slice(0, 56).replace(/[._-]+$/, '')
  const isFree = (name: string) =>
    !planned.has(volumeWords({ pool, name })) && !ports.store.volumes.find(pool, name)
  if (isFree(stem)) return stem
  for (let number = 2; ; number++) {
    const name = `${stem}-${number}`
    if (isFree(name)) return name
  }
}
