/** `kvasir host topology`: of the daemon's host, or of a captured one. */
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'

export const showTopology: Action = async (context) => {
  const topology = await findTopology(context)
  await context.output.result(topology, async () => {
    const { drawTopology } = await import('./topology-tree.ts')
    return drawTopology(topology, (text) => context.output.bold(text))
  })
  return undefined
}

async function findTopology(context: Context) {
  const root = context.value('root')
  if (root === undefined) return await context.client.call(routes.getHostTopology, { signal: context.signal })
  const { readCapturedTopology } = await import('./captured-host.ts')
  return await readCapturedTopology(root)
}
