/** Which cgroup hierarchies the host has, and what the unified one can limit. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Host } from '@kvasir/contract'
import { cgroupControllers, type ProcessMount, readMounts } from '@kvasir/linux'

/** The cgroup part of the host's description. */
export async function cgroupFacts(): Promise<Host['cgroup']> {
  const mounts = await readMounts('self')
  const root = mounts.find((mount) => mount.fileSystem === 'cgroup2')?.mountPoint
  const controllers = root === undefined ? [] : await controllersOf(root)
  return {
    version: cgroupVersion(mounts),
    ...(root === undefined ? {} : { root }),
    controllers: [...controllers],
    missing: cgroupControllers.filter((controller) => !controllers.includes(controller)),
  }
}

/** `hybrid` is a v2 hierarchy beside hierarchies of v1, as systemd makes it; controllers are then usually with v1. */
export function cgroupVersion(
  mounts: readonly Pick<ProcessMount, 'fileSystem'>[],
): Host['cgroup']['version'] {
  const has = (fileSystem: string) => mounts.some((mount) => mount.fileSystem === fileSystem)
  if (has('cgroup2')) return has('cgroup') ? 'hybrid' : 'v2'
  return has('cgroup') ? 'v1' : 'none'
}

async function controllersOf(root: string): Promise<readonly string[]> {
  const text = await readFile(join(root, 'cgroup.controllers'), 'utf8').catch(() => '')
  return text.split(/\s+/).filter(Boolean)
}
