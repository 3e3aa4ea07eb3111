/** What a VM holds of its host, as the plan says by which it runs. */
import type { PlacementPlan } from '@kvasir/contract'
import type { Holding } from './occupancy.ts'

/** The holding of a VM that runs by a plan; `memoryBytes` is all of its memory. */
export function holdingOf(
  vm: string,
  { plan, memoryBytes }: { readonly plan: PlacementPlan; readonly memoryBytes: number },
): Holding {
  const { vcpus, emulator = [], ioThreads } = plan.threads
  const isDedicated = plan.placement === 'dedicated'
  return {
    vm,
    dedicated: isDedicated ? vcpus.flatMap(({ cpus }) => cpus) : [],
    shared: isDedicated ? [] : vcpus.map(({ cpus }) => cpus),
    helpers: [...new Set([...emulator, ...ioThreads.flatMap(({ cpus }) => cpus)])],
    memory: memoryOf(plan, memoryBytes),
  }
}

function memoryOf({ threads, guest }: PlacementPlan, memoryBytes: number): Holding['memory'] {
  const { memoryNodes } = threads
  if (memoryNodes === undefined) return []
  const parts = guest?.nodes ?? []
  if (parts.length > 0)
    return parts.map(({ memoryNode, memoryBytes: bytes }) => ({ node: memoryNode, bytes }))
  return memoryNodes.map((node) => ({ node, bytes: memoryBytes / memoryNodes.length }))
}
