/** Hosts for tests and benchmarks of the planner: regular ones by their counts, and any by a list of cores. */
import type { HostTopology } from '@kvasir/contract'

/** One core: where it is and its CPUs that are online. */
export interface CoreShape {
  readonly node: number
  readonly socket?: number
  readonly l3?: number | undefined
  readonly cpus: readonly number[]
  readonly kind?: string | undefined
}

/** One node's memory. */
export interface NodeShape {
  readonly node: number
  readonly memoryBytes: number | undefined
  readonly freeBytes?: number | undefined
}

/** What a host is made from. */
export interface HostShape {
  readonly cores: readonly CoreShape[]
  readonly nodes: readonly NodeShape[]
  readonly distance?: (from: number, to: number) => number
  readonly isolated?: readonly number[]
  readonly offline?: readonly number[]
  readonly devices?: readonly { readonly address: string; readonly node: number | undefined }[]
}

export const gib = 2 ** 30

/** A host from its cores and nodes. */
export function hostOf(shape: HostShape): HostTopology {
  const { cores, nodes, isolated = [], offline = [], devices = [] } = shape
  const distance = shape.distance ?? ((from, to) => (from === to ? 10 : 21))
  const online = cores.flatMap(({ cpus }) => cpus).sort((a, b) => a - b)
  const inDomain = Map.groupBy(cores, ({ l3 }) => l3)
  const kinds = Map.groupBy(cores, ({ kind }) => kind)
  const cpusOf = (members: readonly CoreShape[]) => members.flatMap(({ cpus }) => cpus).sort((a, b) => a - b)
  return {
    architecture: 'x86_64',
    cpus: [
      ...online.map((cpu) => ({ cpu, online: true, isolated: isolated.includes(cpu), nohzFull: false })),
      ...offline.map((cpu) => ({ cpu, online: false, isolated: false, nohzFull: false })),
    ],
    offline: [...offline],
    isolated: [...isolated],
    nohzFull: [],
    smt: cores.some(({ cpus }) => cpus.length > 1) ? 'on' : 'off',
    sockets: [...Map.groupBy(cores, ({ socket, node }) => socket ?? node)].map(([socket, members]) => ({
      socket,
      cpus: cpusOf(members),
    })),
    dies: [],
    clusters: [],
    l3: [...inDomain].flatMap(([l3, members]) => (l3 === undefined ? [] : [{ l3, cpus: cpusOf(members) }])),
    cores: cores.map(({ node, socket, l3, cpus, kind }, core) => ({
      core,
      socket: socket ?? node,
      die: socket ?? node,
      node,
      ...(l3 === undefined ? {} : { l3 }),
      ...(kind === undefined ? {} : { kind }),
      cpus: [...cpus],
    })),
    kinds: [...kinds].flatMap(([kind, members]) =>
      kind === undefined ? [] : [{ kind, cpus: cpusOf(members) }],
    ),
    caches: [],
    numa: nodes.length > 1,
    nodes: nodes.map(({ node, memoryBytes, freeBytes = memoryBytes }) => ({
      node,
      cpus: cpusOf(cores.filter((core) => core.node === node)),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      ...(freeBytes === undefined ? {} : { freeBytes }),
      distances: nodes.map(({ node: to }) => ({ node: to, distance: distance(node, to) })),
    })),
    pciDevices: devices.map(({ address, node }) => ({
      address,
      classCode: '020000',
      className: 'Ethernet controller',
      vendorId: '8086',
      deviceId: '10c9',
      ...(node === undefined ? {} : { node }),
    })),
  }
}

/** A regular host: `nodes` of `l3` domains of `cores` with `threads`; first threads are numbered before second ones. */
export function regularHost(
  {
    nodes,
    l3,
    cores,
    threads,
  }: { readonly nodes: number; readonly l3: number; readonly cores: number; readonly threads: number },
  more: Partial<HostShape> = {},
): HostTopology {
  const count = nodes * l3 * cores
  return hostOf({
    cores: Array.from({ length: count }, (_, core) => ({
      node: Math.floor(core / (l3 * cores)),
      l3: Math.floor(core / cores),
      cpus: Array.from({ length: threads }, (_, thread) => core + thread * count),
    })),
    nodes: Array.from({ length: nodes }, (_, node) => ({ node, memoryBytes: 64 * gib })),
    ...more,
  })
}
