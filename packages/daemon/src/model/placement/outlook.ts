/**
 * What a place leaves to the VMs that come next: how likely the next one will be on more L3 domains than it needs.
 *
 * Nobody knows which VM comes next and who leaves before. So it is asked for the sizes of the dedicated VMs that are here and for common
 * ones, each as often as it is found, with nobody gone and with each VM here gone once. Invariant: whoever finds no room on any node
 * counts for nothing, since no choice of an L3 domain helps it.
 *
 * Not here: memory, and guests larger than a node.
 */
import { freeDomains } from './choose-cores.ts'
import type { Room } from './free-threads.ts'
import type { MapDomain } from './host-map.ts'
import { leastDomains, topSums } from './least-domains.ts'

/** What is left to later VMs, in parts of 1. */
export interface Outlook {
  /** How likely the next VM is on more L3 domains than it needs, once threads of some domains are taken. */
  crowdedAfter(taken: readonly TakenThreads[]): number
}

/** Hardware threads taken of a domain. */
export interface TakenThreads {
  readonly domain: Pick<MapDomain, 'node' | 'l3'>
  readonly count: number
}

/** Sizes that are asked for everywhere, so that an empty host is not planned for the sizes of its first VMs only. */
const commonSizes = [1, 2, 4, 8, 16]

/** Nobody gone counts as much as so many VMs gone. */
const weightOfNow = 2

/** On large hosts so many VMs, the first by CPU, stand for all. */
const mostLeavers = 48

/** A size that may come: how often, and the fewest domains that hold it. */
interface NextSize {
  readonly vcpus: number
  readonly weight: number
  readonly least: number
}

/** Free threads by node and domain, and what is known of each node. */
interface Host {
  readonly free: readonly (readonly number[])[]
  readonly sums: readonly (readonly number[])[]
  readonly sizes: readonly NextSize[]
}

type Change = readonly { readonly node: number; readonly domain: number; readonly count: number }[]

/** The outlook of a host; `room` is that of a dedicated VM that may use every CPU of it. */
export function outlookOf(room: Room): Outlook {
  const nodes = room.map.nodes.filter(({ cores }) => cores.length > 0)
  const free = nodes.map((node) => freeDomains(node, room).map(({ slots }) => slots))
  const host = { free, sums: free.map(topSums), sizes: nextSizes(room) }
  const index = new Map(
    nodes.flatMap(({ domains }, node) =>
      domains.map((domain, position) => [keyOf(domain), { node, domain: position }] as const),
    ),
  )
  const changeOf = (taken: readonly TakenThreads[], sign: 1 | -1): Change =>
    taken.flatMap(({ domain, count }) => {
      const at = index.get(keyOf(domain))
      return at === undefined ? [] : [{ ...at, count: sign * count }]
    })
  const leavers = room.occupancy.dedicated
    .slice(0, mostLeavers)
    .map(({ cpus }) => changeOf(domainsOf(cpus, room), 1))
  return {
    crowdedAfter: (taken) => {
      const own = changeOf(taken, -1)
      const gone = leavers.reduce((sum, leaver) => sum + crowded(host, [...own, ...leaver]), 0)
      return (weightOfNow * crowded(host, own) + gone) / (weightOfNow + leavers.length)
    },
  }
}

function nextSizes({ map, occupancy }: Room): readonly NextSize[] {
  const seen = [...occupancy.dedicated.map(({ cpus }) => cpus.length), ...commonSizes]
  return [...Map.groupBy(seen, (size) => size)].map(([vcpus, { length }]) => ({
    vcpus,
    weight: length,
    least: leastDomains(vcpus, map),
  }))
}

function domainsOf(cpus: readonly number[], { map }: Room): readonly TakenThreads[] {
  const cores = cpus.flatMap((cpu) => map.coreOf(cpu) ?? [])
  return [...Map.groupBy(cores, keyOf).values()].flatMap((members) =>
    members[0] === undefined ? [] : [{ domain: members[0], count: members.length }],
  )
}

function keyOf({ node, l3 }: Pick<MapDomain, 'node' | 'l3'>): string {
  return `${node}/${l3}`
}

/** The part of the sizes that has room on a node, but on more domains than needed. */
function crowded({ free, sums, sizes }: Host, change: Change): number {
  const after = sums.map((sum, node) => {
    const here = change.filter((one) => one.node === node)
    if (here.length === 0) return sum
    const counts = [...(free[node] ?? [])]
    for (const { domain, count } of here) counts[domain] = (counts[domain] ?? 0) + count
    return topSums(counts)
  })
  let [all, bad] = [0, 0]
  for (const { vcpus, weight, least } of sizes) {
    all += weight
    const fits = after.some((sum) => (sum[least - 1] ?? 0) >= vcpus)
    if (!fits && after.some((sum) => (sum.at(-1) ?? 0) >= vcpus)) bad += weight
  }
  return bad / Math.max(1, all)
}
