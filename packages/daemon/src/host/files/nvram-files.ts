/** The variables of UEFI: small files of a fixed size, of which an emulator has a descriptor. What is in them is never looked at. */
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { StateFiles } from '../../ports/files.ts'
import { removeFiles, replaceFile } from './synced-files.ts'

const ending = '.fd'
/** QEMU takes flash devices of 8 MiB in all (hw/i386/pc_sysfw.c). */
const mostBytes = 8 * 1024 * 1024

/** The calls for this folder. */
export function nvramFiles(
  folder: string,
  { requireSpace }: { readonly requireSpace: (bytes: number) => Promise<void> },
) {
  const nvramPath = (id: string) => join(folder, checkedId(id) + ending)
  const names = async () => {
    const files = await readdir(folder)
    return files.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length))
  }
  const copy = async (source: string, id: string) => {
    const content = await readSmall(source)
    await requireSpace(content.length)
    await replaceFile(nvramPath(id), content)
  }
  return {
    nvramPath,
    async ensureNvram(id, template) {
      if (!(await names()).includes(id)) await copy(template, id)
    },
    copyNvram: (fromId, toId) => copy(nvramPath(fromId), toId),
    removeNvram: (id) => removeFiles(nvramPath(id), `${nvramPath(id)}.partial`),
    listNvrams: names,
  } satisfies Partial<StateFiles>
}

async function readSmall(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path, 'r')
    const { size } = await file.stat()
    if (size > 0 && size <= mostBytes) return await file.readFile()
  } catch (cause) {
    throw new KvasirError(
      'host-failed',
      `The UEFI variables ${path} cannot be read, so there is no copy of them.`,
      {
        cause,
      },
    )
  }
  throw new KvasirError(
    'host-failed',
    `${path} has not the size of UEFI variables, so there is no copy of it.`,
  )
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
