/** The memory of snapshots: files beside those of saved memory, which they come from and are lent to. */
import { link, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { StateFiles } from '../../ports/files.ts'
import { publish, removeFiles, syncPath } from './synced-files.ts'

const ending = '.memory'

/** The calls for these folders. A file that is lent has two names; loading it only reads. */
export function memoryFiles(folders: { readonly saves: string; readonly snapshots: string }) {
  const memoryPath = (id: string) => join(folders.snapshots, checkedId(id) + ending)
  const savePath = (id: string) => join(folders.saves, checkedId(id) + ending)
  return {
    async keepMemory(vmId, snapshotId) {
      const path = memoryPath(snapshotId)
      await publish(`${savePath(vmId)}.partial`, path)
      return { sizeBytes: (await stat(path)).size }
    },
    async lendMemory(snapshotId, vmId) {
      await removeFiles(savePath(vmId))
      await link(memoryPath(snapshotId), savePath(vmId))
      await syncPath(folders.saves)
    },
    removeMemory: (snapshotId) => removeFiles(memoryPath(snapshotId)),
    async listMemories() {
      const names = await readdir(folders.snapshots)
      return names.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length))
    },
  } satisfies Partial<StateFiles>
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
