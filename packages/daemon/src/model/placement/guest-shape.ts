/**
 * What a guest is shown of the host beneath it: SMT siblings where its vCPUs are on siblings, and NUMA nodes where it spans nodes.
 *
 * Invariant: sockets x cores x threads is the number of vCPUs. A guest that runs in one node sees no NUMA. What floats is shown no
 * siblings, for its vCPUs may be anywhere. What saved memory was shown stays as it was; only the host's nodes may be others.
 */
import type { GuestShape } from '@kvasir/contract'
import type { Room } from './free-threads.ts'
import type { Judged } from './judge-nodes.ts'

/** The shape of the guest for a place; `showNodes` is false where NUMA is off. */
export function guestShape(
  { places }: Judged,
  {
    room,
    showNodes,
    former,
  }: {
    readonly room: Room
    readonly showNodes: boolean
    readonly former: GuestShape | undefined
  },
): GuestShape {
  if (former !== undefined) return withHostNodes(former, places)
  const vcpus = places.reduce((sum, part) => sum + part.vcpus, 0)
  const threads = siblingsShown(places, room)
  const spans = places.length > 1 && showNodes
  const isEven = places.every((part) => part.vcpus === places[0]?.vcpus)
  const hostSockets = new Set(places.map(({ node }) => node.socket)).size
  const sockets = spans && isEven && places.length % hostSockets === 0 ? hostSockets : 1
  const starts = places.map((_, index) => places.slice(0, index).reduce((sum, part) => sum + part.vcpus, 0))
  return {
    sockets,
    cores: vcpus / threads / sockets,
    threads,
    nodes: spans
      ? places.map(({ node, vcpus: count, memoryBytes }, index) => ({
          node: index,
          hostNode: node.node,
          memoryNode: node.memoryNode,
          vcpus: Array.from({ length: count }, (_, vcpu) => (starts[index] ?? 0) + vcpu),
          memoryBytes,
        }))
      : [],
    distances: spans ? distancesOf(places, room) : [],
  }
}

function withHostNodes(former: GuestShape, places: Judged['places']): GuestShape {
  return {
    ...former,
    nodes: former.nodes.map((node, index) => {
      const place = places[index]?.node
      return place === undefined ? node : { ...node, hostNode: place.node, memoryNode: place.memoryNode }
    }),
  }
}

/** Threads of a guest core: of the host's, when each of the VM's cores is its own with all siblings. */
function siblingsShown(places: Judged['places'], { mode }: Room): number {
  if (mode !== 'dedicated') return 1
  const sizes = new Set(
    places.flatMap(({ choice }) =>
      choice.cores.map(({ core, cpus }) => (cpus.length === core.cpus.length ? cpus.length : 0)),
    ),
  )
  const [size, ...others] = sizes
  return size === undefined || size === 0 || others.length > 0 ? 1 : size
}

/** Distances as the host's, with 10 for a node itself; a guest kernel refuses tables that say otherwise. */
function distancesOf(places: Judged['places'], { map }: Room): number[][] {
  return places.map((from, row) =>
    places.map((to, column) => {
      if (row === column) return 10
      const way = map.distance(from.node.node, to.node.node)
      return Math.min(254, Math.max(11, way))
    }),
  )
}
