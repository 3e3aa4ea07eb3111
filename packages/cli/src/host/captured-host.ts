/**
 * A host read from files instead of asked of a daemon: what `--root` names is a captured tree of /sys and /proc, or `/` itself.
 *
 * Not here: how the files are read (@kvasir/linux). Loaded only when it is needed.
 */
import type { HostTopology } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { DirectoryTree, type HostTree } from '@kvasir/linux/host-tree'
import { readTopology } from '@kvasir/linux/topology'

/** Opens a tree. Throws `file-not-found` when the directory is none. */
function openCapture(root: string): HostTree {
  try {
    return new DirectoryTree(root)
  } catch (cause) {
    throw new KvasirError(
      'file-not-found',
      `${root} is not a directory that can be read, so no host is in it.`,
      {
        details: { path: root },
        cause,
      },
    )
  }
}

/** The topology in a tree. Throws `file-not-found` when it shows no CPU. */
export async function readCapturedTopology(root: string): Promise<HostTopology> {
  const topology = await readTopology(openCapture(root))
  if (topology === undefined) throw noHost(root)
  return topology
}

/** The refusal of a directory that no kernel described itself in. */
function noHost(root: string): KvasirError {
  return new KvasirError(
    'file-not-found',
    `${root} holds no CPU in sys/devices/system/cpu, so it is not a captured host.`,
    { details: { path: root } },
  )
}
