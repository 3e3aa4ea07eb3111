/**
 * The host as the planner walks it: nodes, in them domains that share an L3, in them cores with the CPUs that VMs may use.
 *
 * Invariant: every CPU in it is online and allowed, and is in one core, one domain and one node. A domain lies in one node; an L3 that
 * spans nodes is a domain in each, of the same `l3`. Nodes without CPUs are kept, for memory and for the reasoning.
 */
import type { HostTopology } from '@kvasir/contract'

/** A core with those of its hardware threads that VMs may use. */
export interface MapCore {
  readonly core: number
  readonly cpus: readonly number[]
  readonly node: number
  /** The L3's number, or a word for where the host shows none. */
  readonly l3: string
  readonly kind: string | undefined
  /** Out of the scheduler's balancing: good for a pinned thread, bad for threads that are to float. */
  readonly isolated: boolean
  /** The first core of its node, where interrupts and threads of the host are expected. */
  readonly house: boolean
}

/** The cores of one node that share an L3. */
export interface MapDomain {
  readonly l3: string
  readonly node: number
  readonly cores: readonly MapCore[]
}

/** A NUMA node. */
export interface MapNode {
  readonly node: number
  readonly socket: number
  readonly domains: readonly MapDomain[]
  readonly cores: readonly MapCore[]
  /** The node its memory comes from: itself, or the nearest one with memory. */
  readonly memoryNode: number
}

/** The host, for the planner. */
export interface HostMap {
  readonly nodes: readonly MapNode[]
  readonly numa: boolean
  /** The core that dedicated VMs never get: the one of the lowest CPU. Its CPUs; none where the host has no CPU for VMs. */
  readonly kept: readonly number[]
  /** Kinds of cores, the strongest first; empty where all are alike. */
  readonly kinds: readonly string[]
  readonly hasIsolated: boolean
  coreOf(cpu: number): MapCore | undefined
  /** As the firmware says it; 10 is near. */
  distance(from: number, to: number): number
}

const near = 10
/** What Linux assumes of another node where the firmware says nothing (REMOTE_DISTANCE). */
const remote = 20

/** Maps a host; `allowed` are the CPUs that VMs may use, all online ones when it is absent. */
export function mapHost(topology: HostTopology, allowed?: readonly number[]): HostMap {
  const may = allowed && new Set(allowed)
  const isolated = new Set(topology.isolated)
  const cores = mapCores(topology, { may, isolated })
  const coreOf = new Map(cores.flatMap((core) => core.cpus.map((cpu) => [cpu, core] as const)))
  const distance = distances(topology)
  const nodes = topology.nodes.map(({ node }) => {
    const own = cores.filter((core) => core.node === node)
    const socket = topology.cores.find((core) => (core.node ?? 0) === node)?.socket ?? 0
    return {
      node,
      socket,
      cores: own,
      domains: domainsOf(own),
      memoryNode: memoryNode(topology, node, distance),
    }
  })
  const first = cores.find((core) => core.house && !core.isolated) ?? cores[0]
  return {
    nodes,
    numa: topology.numa,
    kept: first?.cpus ?? [],
    kinds: topology.kinds.map(({ kind }) => kind),
    hasIsolated: cores.some((core) => core.isolated),
    coreOf: (cpu) => coreOf.get(cpu),
    distance,
  }
}

function mapCores(
  topology: HostTopology,
  {
    may,
    isolated,
  }: { readonly may: ReadonlySet<number> | undefined; readonly isolated: ReadonlySet<number> },
): readonly MapCore[] {
  const seen = new Set<number>()
  const sorted = topology.cores
    .map((core) => ({ ...core, cpus: core.cpus.filter((cpu) => may === undefined || may.has(cpu)) }))
    .filter(({ cpus }) => cpus.length > 0)
    .sort((a, b) => (a.cpus[0] ?? 0) - (b.cpus[0] ?? 0))
  return sorted.map(({ core, cpus, l3, kind, ...rest }) => {
    const node = rest.node ?? 0
    const isIsolated = cpus.some((cpu) => isolated.has(cpu))
    const house = !isIsolated && !seen.has(node)
    if (house) seen.add(node)
    return {
      core,
      cpus,
      node,
      l3: l3 === undefined ? `none in node ${node}` : `${l3}`,
      kind,
      isolated: isIsolated,
      house,
    }
  })
}

function domainsOf(cores: readonly MapCore[]): readonly MapDomain[] {
  return [...Map.groupBy(cores, ({ l3 }) => l3)].map(([l3, members]) => ({
    l3,
    node: members[0]?.node ?? 0,
    cores: members,
  }))
}

function distances(topology: HostTopology): HostMap['distance'] {
  const rows = new Map(
    topology.nodes.map(({ node, distances: row }) => [
      node,
      new Map(row.map((to) => [to.node, to.distance])),
    ]),
  )
  return (from, to) => rows.get(from)?.get(to) ?? (from === to ? near : remote)
}

/** A node without memory takes it from the nearest that has some; slower tiers only where there is nothing else. */
function memoryNode(topology: HostTopology, node: number, distance: HostMap['distance']): number {
  const own = topology.nodes.find((candidate) => candidate.node === node)
  if (own?.memoryBytes !== 0) return node
  const others = topology.nodes.filter(({ memoryBytes }) => memoryBytes !== 0)
  const [nearest] = others.toSorted(
    (a, b) =>
      Number(a.cpus.length === 0) - Number(b.cpus.length === 0) ||
      distance(node, a.node) - distance(node, b.node) ||
      a.node - b.node,
  )
  return nearest?.node ?? node
}
