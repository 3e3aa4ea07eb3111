/**
 * The topology of a machine: from what its files say to sockets, dies, clusters, L3 domains, cores and nodes. The parts are flat
 * lists that refer to each other by numbers of ours, counted by the lowest CPU.
 *
 * Invariants: a core lies in one die, a die in one socket; every online CPU has exactly one of each. L3 domains and nodes need not
 * nest with them. An offline CPU is nowhere, for the kernel does not say where it would be.
 */
import { coreKinds } from './core-kinds.ts'
import { readArchitecture, readCpuInfo } from './cpu-info.ts'
import { type CacheReading, type CpuReading, readCpus } from './cpu-reading.ts'
import type { HostTree } from './host-tree.ts'
import { type NodeReading, readNodes } from './node-reading.ts'
import { partsOf } from './parts.ts'
import { pciClassName } from './pci-class.ts'
import { type PciReading, readPciDevices } from './pci-reading.ts'
import { withoutAbsent } from './present-fields.ts'
import { readSystemMemory } from './system-memory.ts'

/** Reads the topology of a tree; undefined when it shows no CPU. */
export async function readTopology(tree: HostTree) {
  const cpus = await readCpus(tree)
  if (cpus === undefined) return undefined
  const info = readCpuInfo(tree)
  const { present, online, isolated, nohzFull } = cpus
  const seenNodes = readNodes(tree)
  const nodes = seenNodes.length > 0 ? seenNodes : [onlyNode(tree, online)]
  const parts = partsOf(online, nodes)
  const kinds = coreKinds(cpus, info.parts)
  const placeOf = new Map(parts.places.map((place) => [place.cpu, place]))
  const kindOf = new Map(
    kinds.flatMap(({ kind, cpus: members }) => members.map((cpu) => [cpu, kind] as const)),
  )
  const isOnline = new Set(online.map(({ cpu }) => cpu))
  const [isIsolated, isTickless] = [new Set(isolated), new Set(nohzFull)]
  return {
    architecture: readArchitecture(tree, info),
    cpus: present.map((cpu) =>
      withoutAbsent({
        cpu,
        online: isOnline.has(cpu),
        ...placeOf.get(cpu),
        kind: kindOf.get(cpu),
        isolated: isIsolated.has(cpu),
        nohzFull: isTickless.has(cpu),
      }),
    ),
    offline: present.filter((cpu) => !isOnline.has(cpu)),
    isolated: [...isolated],
    nohzFull: [...nohzFull],
    smt: smtState(online, parts.cores),
    sockets: parts.sockets,
    dies: parts.dies,
    clusters: parts.clusters,
    l3: parts.l3,
    cores: parts.cores.map((core) => withoutAbsent({ ...core, kind: kindOf.get(core.cpus[0] ?? -1) })),
    kinds: kinds.map((kind) => ({ ...kind, cpus: [...kind.cpus] })),
    caches: summarizeCaches(online),
    numa: seenNodes.length > 0,
    nodes: nodes.map((node) => ({
      ...node,
      cpus: node.cpus.filter((cpu) => isOnline.has(cpu)),
      distances: [...node.distances],
    })),
    pciDevices: readPciDevices(tree).map(placeDevice),
  }
}

/** A kernel without NUMA is one node with everything. */
function onlyNode(tree: HostTree, online: readonly CpuReading[]): NodeReading {
  const { totalBytes, freeBytes } = readSystemMemory(tree)
  return {
    node: 0,
    cpus: online.map(({ cpu }) => cpu),
    memoryBytes: totalBytes,
    freeBytes,
    distances: [{ node: 0, distance: 10 }],
  }
}

function smtState(
  online: readonly CpuReading[],
  cores: readonly { readonly cpus: readonly number[] }[],
): 'on' | 'off' | 'unknown' {
  if (cores.some(({ cpus }) => cpus.length > 1)) return 'on'
  return online.some((cpu) => cpu.coreCpus !== undefined) ? 'off' : 'unknown'
}

/** How many caches there are of each level, type and size. A cache belongs to the first CPU that shares it. */
function summarizeCaches(online: readonly CpuReading[]) {
  const claimed = new Set<string>()
  const counts = new Map<
    string,
    { level: number; type: CacheReading['type']; sizeBytes?: number; instances: number }
  >()
  for (const { cpu, caches } of online) {
    for (const { level, type, sizeBytes, cpus } of caches) {
      const kind = `${level} ${type}`
      if (claimed.has(`${kind} ${cpu}`)) continue
      for (const sharer of [cpu, ...cpus]) claimed.add(`${kind} ${sharer}`)
      const row = counts.get(`${kind} ${sizeBytes}`)
      if (row !== undefined) row.instances++
      else
        counts.set(`${kind} ${sizeBytes}`, {
          level,
          type,
          ...(sizeBytes === undefined ? {} : { sizeBytes }),
          instances: 1,
        })
    }
  }
  return [...counts.values()].sort(
    (a, b) =>
      a.level - b.level ||
      (a.type < b.type ? -1 : Number(a.type !== b.type)) ||
      (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0),
  )
}

function placeDevice({ address, classCode, vendorId, deviceId, driver, node, iommuGroup }: PciReading) {
  const className = pciClassName(classCode)
  return withoutAbsent({ address, classCode, className, vendorId, deviceId, driver, node, iommuGroup })
}
