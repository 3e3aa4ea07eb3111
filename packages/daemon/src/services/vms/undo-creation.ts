/** Undoes an unfinished creation, by what its rows say. Used when creating fails, and by recovery. Safe to repeat. */
import type { Ports } from '../../ports/ports.ts'
import { discardVolume } from '../volumes/volume-files.ts'

/** Removes a VM whose phase is `creating`, with the volumes that were being made for it. */
export async function undoCreation(id: string, ports: Ports): Promise<void> {
  const { store, files, bootId } = ports
  for (const volume of store.volumes.list()) {
    if (volume.madeForVm !== id || volume.phase !== 'creating') continue
    await discardVolume(volume, ports)
  }
  await files.removeNvram(id)
  store.transaction(() => {
    store.vms.remove(id)
    store.uids.release(id, bootId)
  })
}
