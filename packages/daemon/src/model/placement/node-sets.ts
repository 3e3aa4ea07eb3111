/**
 * Which sets of nodes are looked at for a VM, and how its vCPUs and memory are parted over a set.
 *
 * Invariant: every node of a set gets at least one vCPU, and the parts add up to the VM. Parts are as even as the nodes' room allows,
 * and memory follows the vCPUs.
 */
import type { HostMap, MapNode } from './host-map.ts'

/** What one node is to carry of a VM. */
export interface Part {
  readonly node: MapNode
  readonly vcpus: number
  readonly memoryBytes: number
}

/** All pairs are looked at up to this many nodes; beyond, and for larger sets, one set grows from each node. */
const mostNodesForAllPairs = 32

/** Sets of `size` nodes with CPUs: all of them for one and two nodes, for more the nearest neighbours of each node. */
export function nodeSets(
  map: HostMap,
  size: number,
  hasRoom: (node: MapNode) => number,
): readonly (readonly MapNode[])[] {
  const nodes = map.nodes.filter(({ cores }) => cores.length > 0)
  if (size === 1) return nodes.map((node) => [node])
  if (size === 2 && nodes.length <= mostNodesForAllPairs) {
    return nodes.flatMap((first, index) => nodes.slice(index + 1).map((second) => [first, second]))
  }
  const grown = nodes.map((seed) => grow(seed, nodes, { map, size, hasRoom }))
  const sets = new Map(
    grown
      .filter((set) => set.length === size)
      .map((set) => set.toSorted((a, b) => a.node - b.node))
      .map((set) => [set.map(({ node }) => node).join(), set]),
  )
  return [...sets.values()]
}

function grow(
  seed: MapNode,
  nodes: readonly MapNode[],
  {
    map,
    size,
    hasRoom,
  }: { readonly map: HostMap; readonly size: number; readonly hasRoom: (node: MapNode) => number },
): readonly MapNode[] {
  const set = [seed]
  while (set.length < size) {
    const [next] = nodes
      .filter((node) => !set.includes(node) && hasRoom(node) > 0)
      .map((node) => ({
        node,
        far: set.reduce((sum, member) => sum + map.distance(member.node, node.node), 0),
      }))
      .toSorted((a, b) => a.far - b.far || hasRoom(b.node) - hasRoom(a.node) || a.node.node - b.node.node)
    if (next === undefined) break
    set.push(next.node)
  }
  return set
}

/** What is parted: vCPUs in groups that stay together, memory in steps. */
export interface Whole {
  readonly vcpus: number
  /** vCPUs of one guest core. */
  readonly group: number
  readonly memoryBytes: number
  readonly stepBytes: number
}

/** Parts a VM over nodes that have room for `rooms` vCPUs each; undefined where they have not. */
export function splitOver(
  set: readonly MapNode[],
  rooms: readonly number[],
  whole: Whole,
): readonly Part[] | undefined {
  const group = whole.vcpus % whole.group === 0 ? whole.group : 1
  const groups = whole.vcpus / group
  const given = evenShares(
    rooms.map((room) => Math.floor(room / group)),
    groups,
  )
  if (given === undefined) return undefined
  const vcpus = given.map((share) => share * group)
  const memory = memoryShares(vcpus, whole)
  if (memory === undefined) return undefined
  return set.map((node, index) => ({ node, vcpus: vcpus[index] ?? 0, memoryBytes: memory[index] ?? 0 }))
}

/** Shares of at least one each, as even as the rooms allow; undefined where the rooms are too small. */
function evenShares(rooms: readonly number[], count: number): readonly number[] | undefined {
  if (rooms.some((room) => room < 1) || rooms.length > count) return undefined
  const shares = rooms.map(() => 0)
  let left = count
  while (left > 0) {
    const open = shares.flatMap((share, index) => (share < (rooms[index] ?? 0) ? [index] : []))
    if (open.length === 0) return undefined
    const each = Math.max(1, Math.floor(left / open.length))
    for (const index of open) {
      const more = Math.min(each, left, (rooms[index] ?? 0) - (shares[index] ?? 0))
      shares[index] = (shares[index] ?? 0) + more
      left -= more
    }
  }
  return shares
}

/** At least one step for each node; what does not divide goes to the node with the most vCPUs. */
function memoryShares(
  vcpus: readonly number[],
  { memoryBytes, stepBytes, vcpus: all }: Whole,
): readonly number[] | undefined {
  const shares = vcpus.map((count) =>
    Math.max(stepBytes, Math.floor((memoryBytes * count) / all / stepBytes) * stepBytes),
  )
  const most = vcpus.indexOf(Math.max(...vcpus))
  const rest = memoryBytes - shares.reduce((sum, share) => sum + share, 0)
  const adjusted = shares.map((share, index) => (index === most ? share + rest : share))
  return adjusted.every((share) => share > 0) ? adjusted : undefined
}
