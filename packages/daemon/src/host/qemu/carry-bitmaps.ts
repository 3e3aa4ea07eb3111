/**
 * The bitmaps of checkpoints, carried over to what takes a node's place: an overlay, or a copy that is the same. Nothing writes to either
 * meanwhile, which is the caller's to see to. One that is not whole is left behind.
 */
import type { QmpClient } from '@kvasir/qmp'
import { bitmapPrefix } from '../../model/storage/checkpoint-state.ts'

interface Way {
  readonly from: string
  readonly to: string
}

/** What a transaction does to carry them, of nodes by their names. */
export async function carriedActions(monitor: QmpClient, ways: readonly Way[]) {
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  return ways.flatMap(({ from, to }) => {
    const bitmaps = nodes.find((node) => node['node-name'] === from)?.['dirty-bitmaps'] ?? []
    return bitmaps
      .filter((one) => one.persistent && one.recording && one.inconsistent !== true)
      .flatMap(({ name, granularity }) =>
        name?.startsWith(bitmapPrefix)
          ? [
              {
                type: 'block-dirty-bitmap-add' as const,
                data: { node: to, name, granularity, persistent: true },
              },
              {
                type: 'block-dirty-bitmap-merge' as const,
                data: { node: to, target: name, bitmaps: [{ node: from, name }] },
              },
            ]
          : [],
      )
  })
}
