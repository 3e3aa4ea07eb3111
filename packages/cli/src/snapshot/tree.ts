/** `kvasir snapshot tree`. */
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { drawTree } from './draw-tree.ts'

export const showTree: Action = async (context) => {
  const { client, output, signal } = context
  const params = { name: context.argument('VM') }
  const snapshots = await client.call(routes.listSnapshots, { params, signal })
  await output.result(snapshots, () => `${output.bold(params.name)}\n${drawTree(snapshots)}`)
  return undefined
}
