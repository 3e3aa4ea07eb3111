/** What an instant keeps of which disks, and whether what changed since a checkpoint is known of each. */
import { type DiskSpec, KvasirError, type NewInstant } from '@kvasir/contract'
import { bitmapName, bitmapPrefix, judgeCheckpoint } from '../../model/storage/checkpoint-state.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import { requireCheckpoint, wantedDisks } from '../checkpoints/checkpoint-rows.ts'
import { requireBooted } from '../moves/begin-move.ts'
import { type CopyRecord, newCopy } from '../moves/move-rows.ts'
import { defaultPool } from '../pools/create-pool.ts'
import { placeName, usablePlace, usablePool } from '../pools/usable-pool.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { requireWhole } from '../volumes/hold-volume.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** One disk that is to be kept. */
export interface PlannedDisk {
  readonly disk: DiskSpec
  readonly volume: VolumeRecord
  readonly scratch: CopyRecord
  /** The bitmap by which it is to be told what changed. */
  readonly since: string | undefined
  /** Why all of it is told although a checkpoint was named. */
  readonly reason: string | undefined
}

/** Plans an instant of a running VM. Refuses what does not go. */
export async function planInstant(
  { record, emulator }: { readonly record: VmRecord; readonly emulator: Emulator },
  request: NewInstant,
  ports: Ports,
): Promise<readonly PlannedDisk[]> {
  const disks = wantedDisks(record, request.disks)
  const since = request.since === undefined ? undefined : requireCheckpoint(record, request.since)
  const names = disks.map(({ name }) => name)
  const bitmaps = since ? await emulator.blocks.instants.bitmaps(names, bitmapPrefix) : []
  const planned = new Set<string>()
  return disks.map((disk) => {
    requireBooted(record, { disk }, 'exported')
    const volume = disk.volume === undefined ? undefined : ports.store.volumes.find(disk.pool, disk.volume)
    if (!volume)
      throw new KvasirError('volume-not-found', `Disk ${disk.name} of VM ${record.name} has no volume.`)
    requireWhole(volume)
    const pool = scratchPool(volume, ports)
    const name = freeVolumeName({ pool, name: `${volume.name}.scratch` }, ports, planned)
    planned.add(volumeWords({ pool, name }))
    const move = { vmId: record.id, disk: disk.name, keep: true, exports: true, scratch: true }
    const state = since && judgeCheckpoint(since, disk.name, bitmaps)
    // What is encrypted stays so; and the bitmap of what changed is kept in a scratch that NBD serves.
    const isRaw = volume.encryption === undefined && state?.kind !== 'usable'
    const scratch = newCopy(volume, { name, pool, format: isRaw ? 'raw' : 'qcow2', move }, ports)
    return {
      disk,
      volume,
      scratch,
      since: since && state?.kind === 'usable' ? bitmapName(since.id) : undefined,
      reason: state?.kind === 'lost' ? state.reason : undefined,
    }
  })
}

/** What is overwritten is kept beside the volume where files are, which take no more space than is in them; else in the default pool. */
function scratchPool(volume: VolumeRecord, ports: Ports): string {
  const { path, capabilities } = usablePlace(volume, ports)
  if (path !== undefined && capabilities.formats.includes('raw')) return placeName(volume)
  usablePool(defaultPool, ports)
  return defaultPool
}
