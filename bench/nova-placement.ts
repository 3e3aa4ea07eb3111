/**
 * The default placement of dedicated VMs in OpenStack Nova, modelled from its documentation and its source (nova/virt/hardware.py,
 * 2024): one guest NUMA node; host nodes with the most free CPUs first (spread); the first node that fits is taken. Inside it the
 * thread policy `prefer`: whole cores by number where there are enough of them, else one thread of each core that has one free.
 * It knows no L3.
 */

/** A node as Nova sees it: its cores with their threads, and what is free. */
export interface NovaNode {
  readonly cores: readonly (readonly number[])[]
  readonly freeMemoryBytes: number
}

/** The CPUs of a VM; undefined when no node has room. */
export function placeLikeNova(
  vm: { readonly vcpus: number; readonly memoryBytes: number },
  nodes: readonly NovaNode[],
  isFree: (cpu: number) => boolean,
): { readonly node: number; readonly cpus: readonly number[] } | undefined {
  const free = nodes.map(({ cores, freeMemoryBytes }, node) => {
    const siblings = cores.map((cpus) => cpus.filter(isFree)).filter((cpus) => cpus.length > 0)
    return { node, siblings, freeMemoryBytes, count: siblings.flat().length }
  })
  const spread = free.toSorted((a, b) => b.count - a.count || b.freeMemoryBytes - a.freeMemoryBytes)
  for (const { node, siblings, freeMemoryBytes } of spread) {
    if (freeMemoryBytes < vm.memoryBytes) continue
    const cpus = pinInNode(siblings, vm.vcpus)
    if (cpus !== undefined) return { node, cpus }
  }
  return undefined
}

function pinInNode(siblings: readonly (readonly number[])[], vcpus: number): readonly number[] | undefined {
  const most = Math.max(0, ...siblings.map((cpus) => cpus.length))
  for (let threads = most; threads >= 1; threads--) {
    const usable = siblings.filter((cpus) => cpus.length >= threads).map((cpus) => cpus.slice(0, threads))
    if (usable.length * threads >= vcpus) return usable.flat().slice(0, vcpus)
  }
  return undefined
}
