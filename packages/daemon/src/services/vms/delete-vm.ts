/**
 * Deletes a VM: its row says `deleting` first, and with it the volumes that go along, so that recovery finishes what was begun.
 */
import { isCdrom, KvasirError } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { removeVolumeFile } from '../volumes/volume-files.ts'
import { holderOf } from '../volumes/volume-use.ts'
import { volumeWords } from '../volumes/volume-words.ts'

export interface DeleteRequest {
  /** Whether the volumes go too. Those that others use stay in any case. */
  readonly disks: boolean
  readonly ifMatch: number | undefined
}

/** Deletes a VM that does not run. */
export async function deleteVm(driver: Driver, context: Context, request: DeleteRequest): Promise<void> {
  const { ports } = context
  await driver.take('delete', async (seat) => {
    requireRevision(seat.record, request.ifMatch)
    const volumes = request.disks ? ownVolumes(seat.record, ports) : []
    await ports.failpoint('vm.delete.before-phase')
    seat.update({ phase: 'deleting' }, () => {
      for (const volume of volumes) ports.store.volumes.update({ ...volume, phase: 'deleting' })
    })
    try {
      await ports.failpoint('vm.delete.after-phase')
      await finishDeletion(seat.record, context)
    } catch (error) {
      if (ports.store.vms.get(driver.id)) noteUnfinished(seat)
      throw error
    }
  })
}

/** There is no way back from here: whoever deletes it again, or the next start of the daemon, goes on. */
function noteUnfinished(seat: Seat): void {
  const reason = 'deleting it did not finish; delete it again'
  seat.update({ life: seat.life(seat.record.life.state, reason) })
}

/** Refuses a change that was made against another revision. */
export function requireRevision(record: VmRecord, ifMatch: number | undefined): void {
  if (ifMatch === undefined || ifMatch === record.revision) return
  throw new KvasirError(
    'revision-mismatch',
    `VM ${record.name} is at revision ${record.revision}, not ${ifMatch}, so the change is refused.`,
    { details: { revision: record.revision } },
  )
}

/** Removes all that is left of a VM whose phase is `deleting`. Safe to repeat. */
export async function finishDeletion(record: VmRecord, context: Context): Promise<void> {
  const { ports } = context
  const { store } = ports
  await ports.emulators.clean(record.id)
  await ports.emulators.removeLogs(record.id)
  await ports.files.removeSeed(record.id)
  await ports.files.removeSave(record.id)
  await ports.files.removeNvram(record.id)
  await ports.files.removeTpm(record.id)
  if (record.nvram) await ports.files.removeNvram(record.nvram.id)
  await ports.failpoint('vm.delete.after-clean')
  const layers = await dropSnapshots(record, ports)

  const names = new Set(
    record.spec.disks.map(({ pool, volume }) => volumeWords({ pool, name: volume ?? '' })),
  )
  for (const volume of store.volumes.list()) {
    if (volume.phase === 'deleting' && names.has(volumeWords(volume))) await removeVolume(volume, context)
  }
  for (const id of layers) {
    const layer = store.volumes.get(id)
    if (layer?.frozen && !holderOf(layer, store)) await removeVolume(layer, context)
  }
  await ports.failpoint('vm.delete.before-row')
  store.transaction(() => {
    for (const volume of store.volumes.list())
      if (volume.madeForVm === record.id) store.volumes.update({ ...volume, madeForVm: undefined })
    store.vms.remove(record.id)
    store.uids.release(record.id, ports.bootId)
    context.emit('vm.deleted', record.name, { uuid: record.id })
  })
  context.drivers.remove(record.id)
  await ports.failpoint('vm.delete.after-row')
}

/** Forgets the snapshots of a VM; answers the ids of their layers, of which those stay that others lie on. */
async function dropSnapshots(record: VmRecord, { store, files }: Ports): Promise<readonly string[]> {
  const snapshots = store.snapshots.ofVm(record.id)
  store.transaction(() => {
    for (const { id } of snapshots) store.snapshots.remove(id)
  })
  for (const { id, nvramId } of snapshots) {
    await files.removeMemory(id)
    if (nvramId !== undefined) await files.removeNvram(nvramId)
  }
  return snapshots.flatMap(({ layers }) => layers.map(({ volumeId }) => volumeId))
}

/** Removes a volume's file and row, and frozen bases that nobody needs any more. */
export async function removeVolume(volume: VolumeRecord, context: Context): Promise<void> {
  const { store, failpoint } = context.ports
  await removeVolumeFile(volume, context.ports)
  await failpoint('volume.delete.after-file')
  store.transaction(() => {
    if (!store.volumes.get(volume.id)) return // Somebody else finished it meanwhile.
    store.volumes.remove(volume.id)
    context.emit('volume.deleted', volumeWords(volume), { id: volume.id })
  })
  await failpoint('volume.delete.after-row')
  const base = volume.baseId === undefined ? undefined : store.volumes.get(volume.baseId)
  if (base?.frozen && !holderOf(base, store)) await removeVolume(base, context)
}

function ownVolumes(record: VmRecord, ports: Ports): readonly VolumeRecord[] {
  const volumes: VolumeRecord[] = []
  for (const disk of record.spec.disks) {
    // What a drive holds is nobody's own.
    const volume =
      disk.volume === undefined || isCdrom(disk)
        ? undefined
        : ports.store.volumes.find(disk.pool, disk.volume)
    if (!volume || holderOf(volume, ports.store, record.id)) continue
    usablePlace(volume, ports)
    volumes.push(volume)
  }
  return volumes
}
