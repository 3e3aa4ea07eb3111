/** NUMA nodes as /sys/devices/system/node shows them. A node may lack CPUs (HBM, CXL) or memory, and their numbers have holes. */
import { parseCpuList, parseCpuMask } from './cpu-list.ts'
import type { HostTree } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'

const nodeFolder = '/sys/devices/system/node'
const tierFolder = '/sys/devices/virtual/memory_tiering'
/** The most nodes that Linux can be built for (1 << CONFIG_NODES_SHIFT on x86). */
const maxNodes = 1024

export interface NodeReading {
  readonly node: number
  readonly cpus: readonly number[]
  readonly memoryBytes?: number
  readonly freeBytes?: number
  readonly distances: readonly { readonly node: number; readonly distance: number }[]
  readonly tier?: number
}

/** The nodes of a tree, none where its kernel has no NUMA. */
export function readNodes(tree: HostTree): readonly NodeReading[] {
  const nodes = tree
    .list(nodeFolder, /^node\d{1,4}$/)
    .map((name) => Number(name.slice(4)))
    .filter((node) => node < maxNodes)
  const tiers = readTiers(tree)
  return nodes.map((node) => {
    const folder = `${nodeFolder}/node${node}`
    const memory = tree.readText(`${folder}/meminfo`)
    return withoutAbsent({
      node,
      cpus:
        parseCpuList(tree.readText(`${folder}/cpulist`)) ??
        parseCpuMask(tree.readText(`${folder}/cpumap`)) ??
        [],
      memoryBytes: kibibytes(memory, 'MemTotal'),
      freeBytes: kibibytes(memory, 'MemFree'),
      distances: parseDistances(tree.readText(`${folder}/distance`), nodes),
      tier: tiers.get(node),
    })
  })
}

function kibibytes(text: string | undefined, name: string): number | undefined {
  const value = new RegExp(`^Node \\d+ ${name}:\\s+(\\d{1,12}) kB$`, 'm').exec(text ?? '')?.[1]
  return value === undefined ? undefined : Number(value) * 1024
}

/** One number for each node that is online, in the order of the nodes. */
function parseDistances(text: string | undefined, nodes: readonly number[]): NodeReading['distances'] {
  const words = text?.split(/\s+/) ?? []
  if (words.length !== nodes.length || words.some((word) => !/^\d{1,3}$/.test(word))) return []
  return nodes.map((node, index) => ({ node, distance: Number(words[index]) }))
}

function readTiers(tree: HostTree): ReadonlyMap<number, number> {
  const tiers = tree.list(tierFolder, /^memory_tier\d{1,6}$/)
  return new Map(
    tiers.flatMap((name) =>
      (parseCpuList(tree.readText(`${tierFolder}/${name}/nodelist`)) ?? []).map(
        (node) => [node, Number(name.slice('memory_tier'.length))] as const,
      ),
    ),
  )
}
