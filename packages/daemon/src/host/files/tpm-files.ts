/** The state of TPMs: a directory for each VM, of the user that its TPM runs as. Nothing in it is opened here. */
import { chown, lchown, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { StateFiles } from '../../ports/files.ts'
import { syncPath } from './synced-files.ts'

/** The calls for this folder, which only root can enter. */
export function tpmFiles(folder: string) {
  const tpmDirectory = (vmId: string) => join(folder, checkedId(vmId))
  return {
    tpmDirectory,
    async ensureTpm(vmId, uid) {
      const directory = tpmDirectory(vmId)
      await mkdir(directory, { recursive: true, mode: 0o700 })
      await chown(directory, uid, uid)
      // A VM whose record was mended may have another user than before. No process of the former one lives.
      for (const name of await readdir(directory)) await lchown(join(directory, name), uid, uid)
      await syncPath(folder)
    },
    async removeTpm(vmId) {
      await rm(tpmDirectory(vmId), { recursive: true, force: true })
      await syncPath(folder)
    },
    listTpms: () => readdir(folder),
  } satisfies Partial<StateFiles>
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
