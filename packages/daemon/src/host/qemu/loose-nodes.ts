/**
 * The block nodes that a disk leaves behind when its device has gone: its chain as it was planned, and layers that were laid over it or
 * put in the place of others since, which have names of their own.
 *
 * A device that the guest let go of keeps its disk for some milliseconds after it has left QEMU's object tree: it is freed by RCU, and as
 * late as that DEVICE_DELETED is sent (QEMU 7.2: hw/core/qdev.c, device_finalize; util/rcu.c).
 *
 * They hang together, and nothing that is in use is above them: no device, no job. Nodes of other disks always have that, so they are
 * never taken for these. Whoever lays layers holds the VM's seat, so none is half laid now.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import { isOfDisk } from '../../model/qemu/ids.ts'
import { takeFileBack } from './pass-file.ts'
import { deviceIds } from './peripherals.ts'

/** A chain has at most twice 64 nodes, and each pass removes those that nothing is above any more. */
const mostPasses = 130
/** How long a device that has gone may keep its disk. */
const freeTimeoutMs = 10_000
const lookMs = 5

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

/** The nodes, once no device that is being freed has one of them. */
async function looseNodes(monitor: QmpClient, disk: string): Promise<readonly string[]> {
  const deadline = performance.now() + freeTimeoutMs
  for (;;) {
    const chains = chainsOf(await monitor.execute('x-debug-query-block-graph'), disk)
    const devices = await deviceIds(monitor) // Asked last, so that one that goes meanwhile counts as gone.
    if (!chains.some((chain) => isBeingFreed(chain, devices)))
      return chains
        .filter((chain) => chain.every(({ type }) => type === 'block-driver'))
        .flatMap((chain) => chain.map(({ name }) => name))
    if (performance.now() > deadline)
      throw new KvasirError(
        'emulator-failed',
        `The emulator has not freed disk ${disk} in ${freeTimeoutMs / 1000} s, though its device is gone.`,
      )
    await pause(lookMs)
  }
}

interface GraphNode {
  readonly id: number
  readonly type: string
  readonly name: string
}

/** What hangs together, where it may be of a disk that has gone. */
function chainsOf(
  {
    nodes,
    edges,
  }: { readonly nodes: readonly GraphNode[]; readonly edges: Parameters<typeof connectedTo>[1] },
  disk: string,
): readonly (readonly GraphNode[])[] {
  const known = new Map(nodes.map((node) => [node.id, node]))
  const left = new Set(known.keys())
  const found: GraphNode[][] = []
  for (const id of known.keys()) {
    if (!left.has(id)) continue
    const group = connectedTo(id, edges).flatMap((one) => known.get(one) ?? [])
    for (const one of group) left.delete(one.id)
    const names = group.flatMap(({ type, name }) => (type === 'block-driver' ? [name] : []))
    if (names.length === 0) continue
    if (names.some((name) => isOfDisk(name, disk)) || names.every(isLayer)) found.push(group)
  }
  return found
}

/** Whether all that is above are devices that have gone: one on a port of its own has no path any more, one on a controller its id. */
function isBeingFreed(chain: readonly GraphNode[], devices: readonly string[]): boolean {
  const above = chain.filter(({ type }) => type !== 'block-driver')
  const isGone = ({ type, name }: GraphNode) =>
    type === 'block-backend' && !name.startsWith('/') && !devices.includes(name)
  return above.length > 0 && above.every(isGone)
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
