/**
 * Which CPUs each thread of a placed VM may run on.
 *
 * dedicated: a vCPU has one hardware thread; siblings of a core follow each other, so that the guest can be shown them. pack: the vCPUs
 * of a node float over the threads taken there. spread: a vCPU floats over the threads of its core.
 * Emulator and I/O threads run beside the vCPUs: on the core of the node that is for such work, else on any CPU that is nobody's own,
 * nearest first; never on a dedicated vCPU's.
 */

import type { Room } from './free-threads.ts'
import type { MapCore, MapNode } from './host-map.ts'
import type { Judged } from './judge-nodes.ts'

/** The vCPUs of a place, in order, with their CPUs. */
export interface VcpuPlace {
  readonly vcpu: number
  readonly cpus: readonly number[]
}

/** The CPUs of each vCPU; parts follow each other in the order of the nodes. */
export function placeVcpus({ places }: Judged, { mode }: Room): readonly VcpuPlace[] {
  const lists = places.flatMap(({ choice }) => {
    const { cores } = choice
    if (mode === 'dedicated') return cores.flatMap(({ cpus }) => cpus.map((cpu) => [cpu]))
    const all = ascending(cores.flatMap(({ cpus }) => cpus))
    return cores.flatMap(({ cpus, vcpus }) =>
      Array.from({ length: vcpus }, () => (mode === 'pack' ? all : ascending(cpus))),
    )
  })
  return lists.map((cpus, vcpu) => ({ vcpu, cpus }))
}

/** Where emulator and I/O threads go, and why there. */
export interface HelperPlace {
  readonly cpus: readonly number[]
  readonly why: string
  /** No CPU was left beside the vCPUs, so they share theirs. */
  readonly crowded: boolean
}

/** The CPUs for emulator and I/O threads; undefined where there is none but dedicated ones. */
export function placeHelpers(
  vcpus: readonly VcpuPlace[],
  nodes: readonly MapNode[],
  room: Room,
): HelperPlace | undefined {
  const { map, mode } = room
  const own = new Set(vcpus.flatMap(({ cpus }) => cpus))
  const [home] = nodes
  if (home === undefined) return undefined
  const byNearness = map.nodes.toSorted(
    (a, b) => nearness(a, nodes, room) - nearness(b, nodes, room) || a.node - b.node,
  )
  for (const node of byNearness) {
    const beside = bestCore(node, own, room)
    if (beside === undefined) continue
    const isHome = nodes.includes(node)
    const what = beside.core.house
      ? `the core of node ${node.node} for such work`
      : `the least loaded core of node ${node.node}`
    const where = isHome ? 'beside the vCPUs' : 'since nothing is left on the nodes of the vCPUs'
    return { cpus: beside.cpus, why: `${what}, ${where}`, crowded: false }
  }
  if (mode === 'dedicated') return undefined
  return { cpus: ascending([...own]), why: 'the CPUs of the vCPUs, since no other is left', crowded: true }
}

function nearness(node: MapNode, nodes: readonly MapNode[], { map }: Room): number {
  const place = nodes.indexOf(node)
  return place >= 0
    ? place - nodes.length
    : Math.min(...nodes.map((own) => map.distance(own.node, node.node)))
}

function bestCore(
  node: MapNode,
  own: ReadonlySet<number>,
  { occupancy }: Room,
): { readonly core: MapCore; readonly cpus: readonly number[] } | undefined {
  const usable = node.cores.flatMap((core) => {
    const cpus = core.cpus.filter((cpu) => !own.has(cpu) && occupancy.holderOf(cpu) === undefined)
    return core.isolated || cpus.length === 0 ? [] : [{ core, cpus }]
  })
  const load = (cpus: readonly number[]) =>
    cpus.reduce((sum, cpu) => sum + occupancy.loadOf(cpu), 0) / cpus.length
  const [best] = usable.toSorted(
    (a, b) =>
      Number(b.core.house) - Number(a.core.house) ||
      Number(touches(a.core, own)) - Number(touches(b.core, own)) ||
      load(a.cpus) - load(b.cpus) ||
      a.core.core - b.core.core,
  )
  return best
}

/** Whether a vCPU of the VM runs on a sibling. */
function touches(core: MapCore, own: ReadonlySet<number>): boolean {
  return core.cpus.some((cpu) => own.has(cpu))
}

function ascending(cpus: readonly number[]): readonly number[] {
  return [...new Set(cpus)].sort((a, b) => a - b)
}
