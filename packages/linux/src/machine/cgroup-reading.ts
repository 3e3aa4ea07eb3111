/** Which cgroup hierarchies a host has, told by what lies in /sys/fs/cgroup, where every distribution mounts them. */
import { cgroupControllers } from '../cgroup.ts'
import type { HostTree } from './host-tree.ts'

const folder = '/sys/fs/cgroup'

/** `hybrid` is v2 beside hierarchies of v1, as systemd makes it. */
type Version = 'v2' | 'hybrid' | 'v1' | 'none'

/** Reads the hierarchies of a tree. */
export function readCgroups(tree: HostTree) {
  const unified = controllersIn(tree, folder)
  const beside = unified === undefined ? controllersIn(tree, `${folder}/unified`) : undefined
  const controllers = unified ?? beside ?? []
  return {
    version: versionOf(tree, { unified, beside }),
    controllers: [...controllers],
    missing: cgroupControllers.filter((controller) => !controllers.includes(controller)),
  }
}

function versionOf(
  tree: HostTree,
  found: { readonly unified: readonly string[] | undefined; readonly beside: readonly string[] | undefined },
): Version {
  if (found.unified !== undefined) return 'v2'
  if (found.beside !== undefined) return 'hybrid'
  return tree.list(folder, /^(cpu|memory|cpuset|cpu,cpuacct)$/).length > 0 ? 'v1' : 'none'
}

function controllersIn(tree: HostTree, root: string): readonly string[] | undefined {
  return tree.readText(`${root}/cgroup.controllers`)?.split(/\s+/).filter(Boolean)
}
