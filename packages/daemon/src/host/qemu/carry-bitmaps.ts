/**
 * The bitmaps of checkpoints, carried over to what takes a node's place: an overlay, a copy that is the same, or the volume that a layer
 * sank into. Nothing writes to either meanwhile, which is the caller's to see to. One that is not whole is left behind, and so are all where the
 * other node is larger: they say nothing of what is there, and QEMU merges only those of one size.
 *
 * In qcow2 a bitmap outlasts its QEMU. On any other node it lives in the memory of QEMU alone, until it is put away (qemu-notes.ts).
 */
import type { QmpClient, QueryNamedBlockNodesItem } from '@kvasir/qmp'
import { bitmapPrefix } from '../../model/storage/checkpoint-state.ts'

interface Way {
  readonly from: string
  readonly to: string
}

/** What QEMU says of a bitmap of a node. */
type NodeBitmap = NonNullable<QueryNamedBlockNodesItem['dirty-bitmaps']>[number]

/** Whether bitmaps of a node are written down by its format. */
export function keepsBitmaps(node: Pick<QueryNamedBlockNodesItem, 'drv'> | undefined): boolean {
  return node?.drv === 'qcow2'
}

/** Whether a bitmap of a node has noted all that was written since it was begun. */
export function isWhole(node: Pick<QueryNamedBlockNodesItem, 'drv'>, bitmap: NodeBitmap): boolean {
  return bitmap.recording && bitmap.inconsistent !== true && (bitmap.persistent || !keepsBitmaps(node))
}

/** The whole bitmaps of checkpoints that a node has. */
export function wholeBitmaps(node: QueryNamedBlockNodesItem | undefined) {
  return (node?.['dirty-bitmaps'] ?? []).flatMap((bitmap) => {
    const { name, granularity } = bitmap
    if (node === undefined || !name?.startsWith(bitmapPrefix) || !isWhole(node, bitmap)) return []
    return [{ name, granularity }]
  })
}

/** What a transaction does to carry them, of nodes by their names. One that is there already takes in what the other has. */
export async function carriedActions(monitor: QmpClient, ways: readonly Way[]) {
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  const find = (name: string) => nodes.find((node) => node['node-name'] === name)
  return ways.flatMap(({ from, to }) => {
    const target = find(to)
    if (sizeOf(find(from)) !== sizeOf(target)) return []
    const persistent = keepsBitmaps(target)
    const there = new Set(target?.['dirty-bitmaps']?.map(({ name }) => name))
    return wholeBitmaps(find(from)).flatMap(({ name, granularity }) => [
      ...(there.has(name)
        ? []
        : [
            {
              type: 'block-dirty-bitmap-add' as const,
              data: { node: to, name, granularity, persistent },
            },
          ]),
      {
        type: 'block-dirty-bitmap-merge' as const,
        data: { node: to, target: name, bitmaps: [{ node: from, name }] },
      },
    ])
  })
}

function sizeOf(node: QueryNamedBlockNodesItem | undefined): number | undefined {
  return node?.image['virtual-size']
}
