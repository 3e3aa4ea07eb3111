/** The nodes that the disks of a running QEMU are on. */
import type { QmpClient } from '@kvasir/qmp'
import { deviceId } from '../../model/qemu/ids.ts'

/** The node that a disk's device is on: its topmost layer, or the filter of a job above that. */
export async function rootNode(monitor: QmpClient, disk: string): Promise<string | undefined> {
  const device = deviceId('disk', disk)
  const blocks = await monitor.execute('query-block')
  return blocks.find((block) => block.qdev?.split('/').includes(device))?.inserted?.['node-name']
}

/** What a filter of a job lies on: a backup's has it as its file, a mirror's as what backs it (QEMU 7.2, block/mirror.c). */
export async function nodeUnder(monitor: QmpClient, filter: string): Promise<string | undefined> {
  const { nodes, edges } = await monitor.execute('x-debug-query-block-graph')
  const parent = nodes.find(({ name }) => name === filter)?.id
  const below = edges.find(
    (edge) => edge.parent === parent && (edge.name === 'file' || edge.name === 'backing'),
  )?.child
  return nodes.find(({ id }) => id === below)?.name
}
