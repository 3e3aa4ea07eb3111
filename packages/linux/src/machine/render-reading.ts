/**
 * Render nodes: the doors of GPUs by which a program draws without showing anything.
 *
 * Facts: Documentation/gpu/drm-uapi.rst (render nodes, from minor 128 on), Documentation/ABI/testing/sysfs-class-drm of the kernel.
 */
import { lastPciAddress } from './block-uses.ts'
import type { HostTree } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'

const classFolder = '/sys/class/drm'

/** One render node. */
export interface RenderReading {
  readonly path: string
  /** The driver of its device; one that is made of no hardware is named by itself, such as `vgem`. */
  readonly driver?: string
  /** The PCI function that it is a part of. */
  readonly address?: string
}

/** The render nodes of a tree, in the order of their numbers. */
export function readRenderNodes(tree: HostTree): readonly RenderReading[] {
  return tree.list(classFolder, /^renderD\d{1,3}$/).map((name) => {
    const device = `${classFolder}/${name}/device`
    return withoutAbsent({
      path: `/dev/dri/${name}`,
      driver: tree.linkName(`${device}/driver`) ?? tree.linkName(device),
      address: lastPciAddress(tree.linkTarget(`${classFolder}/${name}`)),
    })
  })
}
