/**
 * The block nodes that a disk leaves behind when its device has gone: its chain as it was planned, and layers that were laid over it or
 * put in the place of others since, which have names of their own.
 *
 * They hang together, and nothing that is in use is above them: no device, no job. Nodes of other disks always have that, so they are
 * never taken for these. Whoever lays layers holds the VM's seat, so none is half laid now.
 */
import { type QmpClient, QmpError } from '@kvasir/qmp'
import { isOfDisk } from '../../model/qemu/ids.ts'
import { takeFileBack } from './pass-file.ts'

/** A chain has at most twice 64 nodes, and each pass removes those that nothing is above any more. */
const mostPasses = 130

/** Removes them, the files under them too. `emulator-failed` by QEMU's refusal when one is in use. */
export async function removeLooseNodes(monitor: QmpClient, disk: string): Promise<void> {
  for (let passes = 0; ; passes++) {
    const names = await looseNodes(monitor, disk)
    if (names.length === 0) return
    let refusal: unknown
    let removed = 0
    for (const name of names) {
      try {
        await monitor.execute('blockdev-del', { 'node-name': name })
        await takeFileBack(monitor, name)
        removed++
      } catch (error) {
        if (!(error instanceof QmpError)) throw error
        refusal = error // Another is on it, which goes first.
      }
    }
    if (removed === 0 || passes > mostPasses) throw refusal
  }
}

async function looseNodes(monitor: QmpClient, disk: string): Promise<readonly string[]> {
  const { nodes, edges } = await monitor.execute('x-debug-query-block-graph')
  const known = new Map(nodes.map((node) => [node.id, node]))
  const left = new Set(known.keys())
  const found: string[] = []
  for (const id of known.keys()) {
    if (!left.has(id)) continue
    const group = connectedTo(id, edges).flatMap((one) => known.get(one) ?? [])
    for (const one of group) left.delete(one.id)
    const names = group.map(({ name }) => name)
    const isIdle = group.every(({ type }) => type === 'block-driver')
    if (isIdle && (names.some((name) => isOfDisk(name, disk)) || names.every(isLayer))) found.push(...names)
  }
  return found
}

/** Layers that came while the guest ran are named after their volume (layer-nodes.ts). */
function isLayer(name: string): boolean {
  return /^(layer|lfile\d+)-/.test(name)
}

function connectedTo(
  id: number,
  edges: readonly { readonly parent: number; readonly child: number }[],
): readonly number[] {
  const reached = [id]
  for (const at of reached)
    for (const { parent, child } of edges) {
      if (parent === at && !reached.includes(child)) reached.push(child)
      if (child === at && !reached.includes(parent)) reached.push(parent)
    }
  return reached
}
