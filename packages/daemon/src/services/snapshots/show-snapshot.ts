/** A snapshot as the API shows it. */
import type { Snapshot } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { VmRecord } from '../../ports/store.ts'
import { placeName } from '../pools/usable-pool.ts'
import { allocatedBytesOf } from '../volumes/show-volume.ts'

/** The API's view of a snapshot, with what its layers occupy. */
export async function showSnapshot(
  record: SnapshotRecord,
  vm: Pick<VmRecord, 'name'>,
  ports: Ports,
): Promise<Snapshot> {
  const { store } = ports
  const disks = await Promise.all(
    record.layers.map(async ({ disk, volumeId }) => {
      const volume = store.volumes.get(volumeId)
      const allocatedBytes = volume && (await allocatedBytesOf(volume, ports))
      return {
        disk,
        volume: volume?.name ?? volumeId,
        ...(volume ? { pool: placeName(volume) } : {}),
        capacityBytes: volume?.capacityBytes ?? 0,
        ...(allocatedBytes === undefined ? {} : { allocatedBytes }),
      }
    }),
  )
  const parent = record.parentId === undefined ? undefined : store.snapshots.get(record.parentId)
  return {
    id: record.id,
    vm: vm.name,
    name: record.name,
    description: record.description,
    ...(parent ? { parent: parent.name } : {}),
    current: record.isCurrent,
    state: record.phase === 'switching' ? 'creating' : record.phase,
    createdAt: record.createdAt,
    quiesced: record.quiesced,
    ...(record.pauseMs === undefined ? {} : { pauseMs: record.pauseMs }),
    ...(record.memory ? { memoryBytes: record.memory.sizeBytes } : {}),
    sizeBytes: disks.reduce(
      (sum, { allocatedBytes }) => sum + (allocatedBytes ?? 0),
      record.memory?.sizeBytes ?? 0,
    ),
    disks,
  }
}
