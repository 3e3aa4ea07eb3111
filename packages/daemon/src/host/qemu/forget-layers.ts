/** Lets a running QEMU close files: those of layers that no disk has, and those that were handed over for layers that were never made. */
import type { QmpClient } from '@kvasir/qmp'
import type { BegunLayer, LayerNodes } from './block-graph.ts'
import { takeFileBack } from './pass-file.ts'

/** Removes the nodes of a layer that nobody uses; answers whether they are gone. */
export async function forget(
  monitor: QmpClient,
  { node, fileNode: file }: Pick<LayerNodes, 'node' | 'fileNode'>,
): Promise<boolean> {
  await monitor.execute('blockdev-del', { 'node-name': node }).catch(() => undefined) // It was never made, or is used.
  return await forgetFile(monitor, file)
}

/** Takes back a file on which no layer was made. One that is in use, by an exchange or as it is, stays. */
export async function giveUp(
  monitor: QmpClient,
  { set, fileNode: node }: Pick<BegunLayer, 'set' | 'fileNode'>,
): Promise<void> {
  const isGone =
    node === undefined ||
    (await monitor.execute('blockdev-del', { 'node-name': node }).then(
      () => true,
      () => false,
    ))
  if (isGone) await monitor.execute('remove-fd', { 'fdset-id': set }).catch(() => undefined) // It has gone with its node.
}

/** Removes the node of a file that nobody uses, and takes the file back; answers whether it is gone. */
export async function forgetFile(monitor: QmpClient, name: string): Promise<boolean> {
  try {
    await monitor.execute('blockdev-del', { 'node-name': name })
  } catch {
    return false
  }
  await takeFileBack(monitor, name)
  return true
}
