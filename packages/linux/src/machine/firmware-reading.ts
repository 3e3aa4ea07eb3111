/**
 * QEMU's firmware descriptors: which files there are and which of them count. A file in /etc stands in place of the one of the same
 * name in /usr/share, and an empty one takes it away. Rules: QEMU's docs/interop/firmware.json.
 */
import { basename, dirname } from 'node:path'
import type { HostTree } from './host-tree.ts'

/** Later ones count before earlier ones. */
const folders = ['/usr/share/qemu/firmware', '/usr/local/share/qemu/firmware', '/etc/qemu/firmware']
const maxBytes = 64 * 1024

export interface FirmwareReading {
  readonly path: string
  readonly text: string
}

/** The descriptors that count, in the order in which they are to be tried. */
export function readFirmwareDescriptors(tree: HostTree): readonly FirmwareReading[] {
  const paths = new Map<string, string>()
  for (const folder of folders) {
    for (const name of tree.list(folder, /^[\w.+-]{1,128}\.json$/)) paths.set(name, `${folder}/${name}`)
  }
  return [...paths]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, path]) => {
      const text = tree.readText(path, maxBytes)
      return text === undefined || text === '' ? [] : [{ path, text }]
    })
}

/** Whether a file of the machine exists. */
export function hasFile(tree: HostTree, path: string): boolean {
  return tree.list(dirname(path), new RegExp(`^${RegExp.escape(basename(path))}$`)).length > 0
}
