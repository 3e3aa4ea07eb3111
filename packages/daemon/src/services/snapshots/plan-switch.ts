/**
 * What becomes of each disk of a VM when a snapshot is taken. A file is laid under an overlay, which goes on in its place; a volume of a
 * pool with snapshots of its own goes on itself, and a clone of it becomes the layer. Over what has neither, such as a LUN, lies an overlay
 * in a pool of files, which is a volume of that LUN's pool all the same: the VM's spec names the disk as before.
 */
import { isReadOnly, KvasirError } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { layersIn, requireFiles } from '../pools/layers-place.ts'
import { requirePool, usablePool } from '../pools/usable-pool.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { requireEncryption } from '../volumes/encryption.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** One disk of the VM and its volume. */
export type DiskSwitch =
  /** The volume becomes a layer, and the successor goes on. */
  | {
      readonly kind: 'overlay'
      readonly disk: string
      readonly volume: VolumeRecord
      readonly successor: VolumeRecord
    }
  /** The copy becomes a layer, and the volume goes on. */
  | {
      readonly kind: 'copy'
      readonly disk: string
      readonly volume: VolumeRecord
      readonly copy: VolumeRecord
    }

/** What is to be done to each disk that the VM may write to. `unsupported` for a shareable one. */
export function planSwitch({ record }: Seat, name: string, ports: Ports): readonly DiskSwitch[] {
  const planned = new Set<string>()
  const disks = record.spec.disks.flatMap((disk): readonly DiskSwitch[] => {
    if (disk.volume === undefined || isReadOnly(disk)) return []
    if (disk.shareable)
      throw new KvasirError(
        'unsupported',
        `Disk ${disk.name} of VM ${record.name} is shareable, and what others write to it is in no snapshot of this VM, so none is taken.`,
        { details: { disk: disk.name } },
      )
    const volume = ports.store.volumes.find(disk.pool, disk.volume)
    if (volume?.phase !== 'ready')
      throw new KvasirError(
        'volume-not-found',
        `Disk ${disk.name} of VM ${record.name} has no volume, so no snapshot is taken.`,
      )
    const { kind, liesIn } = placeOf(volume, ports)
    if (kind === 'overlay' && volume.encryption)
      requireEncryption({ pool: liesIn ?? volume.pool, format: 'qcow2' }, ports)
    const wish = freeVolumeName({ pool: volume.pool, name: `${volume.name}.${name}` }, ports, planned)
    planned.add(volumeWords({ pool: volume.pool, name: wish }))
    const { file: _, liesIn: __, ...plain } = volume
    const made: VolumeRecord = {
      ...plain,
      ...(liesIn === undefined ? {} : { liesIn }),
      id: ports.clock.uuid(),
      name: wish,
      format: kind === 'overlay' ? 'qcow2' : volume.format,
      baseId: volume.id,
      imageId: undefined,
      phase: 'creating',
      frozen: false,
      madeForVm: record.id,
      createdAt: ports.clock.now(),
    }
    return [
      kind === 'overlay'
        ? { kind, disk: disk.name, volume, successor: made }
        : { kind, disk: disk.name, volume, copy: made },
    ]
  })
  if (disks.length > 0) return disks
  throw new KvasirError(
    'unsupported',
    `VM ${record.name} has no disk that it may write to, so there is nothing to take a snapshot of.`,
  )
}

/** What a layer of a volume is, and the pool that it goes to where that is another one. */
function placeOf(
  volume: VolumeRecord,
  ports: Ports,
): { readonly kind: DiskSwitch['kind']; readonly liesIn?: string } {
  const pool = requirePool(volume.pool, ports)
  usablePool(volume.pool, ports)
  const liesIn = layersIn(pool, ports)
  if (liesIn === undefined)
    return { kind: ports.pools.of(pool).capabilities.formats.includes('qcow2') ? 'overlay' : 'copy' }
  requireFiles(liesIn, ports)
  return { kind: 'overlay', liesIn }
}
