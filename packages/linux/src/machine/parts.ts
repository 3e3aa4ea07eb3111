/**
 * The parts of a machine, numbered by their lowest CPU: sockets, dies, clusters, L3 domains, cores, and the place of each CPU. Pure.
 *
 * Invariant: a core lies in one die, a die in one socket, and each online CPU in one of each, whatever the files say.
 */
import type { CacheReading, CpuReading } from './cpu-reading.ts'
import { type Group, groupCpus } from './groups.ts'
import { withoutAbsent } from './present-fields.ts'

/** What is known of a node for placing CPUs. */
interface NodeCpus {
  readonly node: number
  readonly cpus: readonly number[]
}

/** The parts that these CPUs make, and for each CPU the numbers of its parts. */
export function partsOf(online: readonly CpuReading[], nodes: readonly NodeCpus[]) {
  const found = findGroups(online)
  const clusterOf = indexByCpu(found.clusters)
  const l3Numbers = numberL3(found.l3)
  const l3OfCpu = new Map([...indexByCpu(found.l3)].map(([cpu, index]) => [cpu, l3Numbers[index]] as const))
  const nodeOf = new Map(nodes.flatMap(({ node, cpus }) => cpus.map((cpu) => [cpu, node] as const)))
  const shared = ({ cpu }: CpuReading) => ({
    cluster: clusterOf.get(cpu),
    l3: l3OfCpu.get(cpu),
    node: nodeOf.get(cpu),
  })
  return {
    sockets: found.sockets.map(({ cpus, first }, socket) =>
      withoutAbsent({ socket, packageId: first.packageId, cpus: numbersOf(cpus) }),
    ),
    dies: found.dies.map(({ cpus, first, socket }, die) =>
      withoutAbsent({ die, dieId: first.dieId, socket, cpus: numbersOf(cpus) }),
    ),
    clusters: found.clusters.map(({ cpus, first, die }, cluster) =>
      withoutAbsent({ cluster, clusterId: first.clusterId, die, cpus: numbersOf(cpus) }),
    ),
    l3: found.l3.map(({ cpus, first }, index) =>
      withoutAbsent({
        l3: l3Numbers[index] ?? index,
        sizeBytes: l3Of(first)?.sizeBytes,
        cpus: numbersOf(cpus),
      }),
    ),
    cores: found.cores.map(({ cpus, first, socket, die }, core) =>
      withoutAbsent({ core, coreId: first.coreId, socket, die, ...shared(first), cpus: numbersOf(cpus) }),
    ),
    places: found.cores.flatMap(({ cpus, socket, die }, core) =>
      cpus.map((cpu) => {
        const maxMhz = cpu.maxKhz === undefined ? undefined : Math.round(cpu.maxKhz / 1000)
        return withoutAbsent({ cpu: cpu.cpu, socket, die, core, ...shared(cpu), maxMhz })
      }),
    ),
  }
}

/** The kernel's ids where it gives each domain one of its own, as lscpu does; else the domains are counted. */
function numberL3(domains: readonly Group[]): readonly number[] {
  const ids = domains.flatMap(({ first }) => l3Of(first)?.id ?? [])
  return new Set(ids).size === domains.length ? ids : domains.map((_, index) => index)
}

/** The groups of CPUs, each numbered by its place in its list. */
function findGroups(online: readonly CpuReading[]) {
  const sockets = groupCpus(online, {
    siblings: (cpu) => cpu.packageCpus,
    key: (cpu) => `${cpu.packageId ?? ''}`,
  })
  const dies = sockets
    .flatMap(({ cpus }, socket) =>
      groupCpus(cpus, { siblings: (cpu) => cpu.dieCpus, key: (cpu) => `${cpu.dieId ?? ''}` }).map((die) => ({
        ...die,
        socket,
      })),
    )
    .toSorted(byFirst)
  const cores = dies
    .flatMap(({ cpus, socket }, die) =>
      groupCpus(cpus, { siblings: (cpu) => cpu.coreCpus, key: coreKey }).map((core) => ({
        ...core,
        die,
        socket,
      })),
    )
    .toSorted(byFirst)
  const clusters = dies
    .flatMap(({ cpus }, die) => clustersOf(cpus).map((cluster) => ({ ...cluster, die })))
    .toSorted(byFirst)
  const l3 = groupCpus(
    online.filter((cpu) => l3Of(cpu) !== undefined),
    { siblings: (cpu) => l3Of(cpu)?.cpus, key: ({ cpu }) => `cpu ${cpu}` },
  )
  return { sockets, dies, cores, clusters, l3 }
}

function byFirst(a: Group, b: Group): number {
  return a.first.cpu - b.first.cpu
}

/** Core ids repeat in each die, and on ARM in each cluster; without any, each CPU is a core. */
function coreKey({ cpu, coreId, clusterId }: CpuReading): string {
  return coreId === undefined ? `cpu ${cpu}` : `${clusterId ?? ''} ${coreId}`
}

function numbersOf(cpus: readonly CpuReading[]): number[] {
  return cpus.map(({ cpu }) => cpu)
}

/** The kernel also calls a single core a cluster, and a whole die; only what lies between is one. */
function clustersOf(die: readonly CpuReading[]) {
  const groups = groupCpus(die, {
    siblings: (cpu) => cpu.clusterCpus,
    key: (cpu) => `cpu ${cpu.cpu}`,
  })
  const isBetween = (cpus: readonly CpuReading[]) =>
    cpus.length < die.length && cpus.some((cpu) => cpu.coreCpus?.length !== cpus.length)
  return groups.filter(({ cpus }) => cpus.length > 1 && isBetween(cpus))
}

function indexByCpu(
  groups: readonly { readonly cpus: readonly CpuReading[] }[],
): ReadonlyMap<number, number> {
  return new Map(groups.flatMap(({ cpus }, index) => cpus.map(({ cpu }) => [cpu, index] as const)))
}

function l3Of(cpu: CpuReading): CacheReading | undefined {
  return cpu.caches.find(({ level, type }) => level === 3 && type !== 'instruction')
}
