/** Files in which emulators put away what they noted of volumes, each named by the volume's id. What is in them is QEMU's. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { StateFiles } from '../../ports/files.ts'
import { removeFiles, replaceFile } from './synced-files.ts'

const ending = '.notes'

/** The calls for this folder. */
export function notesFiles(
  folder: string,
  { requireSpace }: { readonly requireSpace: (bytes: number) => Promise<void> },
) {
  const notesPath = (id: string) => join(folder, checkedId(id) + ending)
  return {
    notesPath,
    async makeNotes(id, mostBytes) {
      await requireSpace(mostBytes)
      await replaceFile(notesPath(id), new Uint8Array())
    },
    removeNotes: (id) => removeFiles(notesPath(id), `${notesPath(id)}.partial`),
    async listNotes() {
      const names = await readdir(folder)
      return names.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length))
    },
  } satisfies Partial<StateFiles>
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
