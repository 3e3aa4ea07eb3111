/** What of the host a cage has to show besides /usr, so that a QEMU that was installed elsewhere can run in it. */
import { realpath } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/**
 * The directories that hold a configured binary with its libraries and firmware: of `/opt/qemu/bin/x` all of `/opt/qemu`, of any other
 * the directory that it lies in. None for a binary below /usr, for one that does not exist, and for none at all. Neither the root
 * of the host nor a directory in it is ever shown whole.
 */
export async function emulatorTrees(binary: string | undefined): Promise<readonly string[]> {
  if (binary === undefined) return []
  const real = await realpath(binary).catch(() => undefined)
  if (real === undefined) return []
  const trees = [binary, real]
    .map(treeOf)
    .filter((tree) => isBelowTop(tree) && !`${tree}/`.startsWith('/usr/'))
  return [...new Set(trees)]
}

function treeOf(binary: string): string {
  const directory = dirname(binary)
  const prefix = dirname(directory)
  return basename(directory) === 'bin' && isBelowTop(prefix) ? prefix : directory
}

function isBelowTop(path: string): boolean {
  return dirname(path) !== '/' && path !== '/'
}
