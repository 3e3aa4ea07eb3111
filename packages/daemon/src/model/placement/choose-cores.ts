/**
 * Which cores of one node a number of vCPUs gets: as few L3 domains as possible, whole cores first, and of several places the one that
 * costs the least.
 *
 * Looked at are every single domain that holds them all, and, where none does, the sets of the least number of domains that do together,
 * each with every domain of it as the one that is not filled.
 */

import { type CostTerm, coreCosts } from './core-costs.ts'
import { type FreeCore, freeCore, type Room } from './free-threads.ts'
import type { MapDomain, MapNode } from './host-map.ts'
import { topSums } from './least-domains.ts'
import type { Outlook } from './outlook.ts'

/** Threads taken of one core, and for how many vCPUs. */
export interface TakenCore extends FreeCore {
  readonly vcpus: number
}

/** A domain with what is free in it. */
export interface FreeDomain {
  readonly domain: MapDomain
  readonly cores: readonly FreeCore[]
  readonly slots: number
  /** Hardware threads of it that VMs may use at all. */
  readonly total: number
}

/** Cores for one part of a VM. */
export interface CoreChoice {
  readonly node: MapNode
  readonly cores: readonly TakenCore[]
  readonly l3: readonly string[]
  readonly terms: readonly CostTerm[]
  readonly cost: number
}

/** What a choice is made from; `leastL3` is how many domains such a part needs on an empty host. */
export interface ChoiceBasis {
  readonly room: Room
  readonly domains: readonly FreeDomain[]
  readonly leastL3: number
  /** What is left to later VMs; absent where that does not matter. */
  readonly outlook?: Outlook | undefined
}

/** Of several domains together so many sets are looked at, those with the most room first. */
const mostSets = 128

/** What is free in each domain of a node. */
export function freeDomains(node: MapNode, room: Room): readonly FreeDomain[] {
  return node.domains.map((domain) => {
    const cores = domain.cores.flatMap((core) => freeCore(core, room) ?? [])
    return {
      domain,
      cores,
      slots: cores.reduce((sum, { slots }) => sum + slots, 0),
      total: domain.cores.reduce((sum, { cpus }) => sum + cpus.length, 0),
    }
  })
}

/**
 * The cheapest cores of a node for `count` vCPUs, the cheapest first of all that were looked at; empty where it has not enough. The
 * core for the host's own work is left out where that is possible without another domain.
 */
export function chooseCores(
  node: MapNode,
  count: number,
  { room, domains, leastL3, outlook }: ChoiceBasis,
): readonly CoreChoice[] {
  const withoutHouse = domains.map((domain) => only(domain, ({ core }) => !core.house))
  const ofOneKind = room.map.kinds.flatMap((kind) =>
    withoutHouse.map((domain) => only(domain, ({ core }) => core.kind === kind)),
  )
  const fewest = topSums(domains.map(({ slots }) => slots)).findIndex((sum) => sum >= count) + 1
  const sets =
    fewest <= 1
      ? [...ofOneKind, ...withoutHouse, ...domains]
          .filter(({ slots }) => slots >= count)
          .map((domain) => [domain])
      : [withoutHouse, domains].flatMap((some) => setsOf(some, { size: fewest, count }))
  const choices = sets.map((set) => {
    const cores = takeCores(set, count, room)
    // What is left of a domain is left of all of it, whichever part was looked at.
    const whole = domains.filter(({ domain }) => set.some((part) => part.domain === domain))
    const terms = coreCosts({ cores, domains: whole, room, leastL3, outlook })
    const cost = terms.reduce((sum, term) => sum + term.cost, 0)
    return { node, cores, l3: set.map(({ domain }) => domain.l3), terms, cost }
  })
  return choices.toSorted((a, b) => a.cost - b.cost)
}

function only(free: FreeDomain, isMeant: (core: FreeCore) => boolean): FreeDomain {
  const cores = free.cores.filter(isMeant)
  return { ...free, cores, slots: cores.reduce((sum, { slots }) => sum + slots, 0) }
}

/** Sets of so many domains that hold `count` together; the last of each is the one that is not filled. */
function setsOf(
  domains: readonly FreeDomain[],
  { size, count }: { readonly size: number; readonly count: number },
): readonly (readonly FreeDomain[])[] {
  const bySize = domains.filter(({ slots }) => slots > 0).toSorted((a, b) => b.slots - a.slots)
  const sets: (readonly FreeDomain[])[] = []
  const grow = (set: readonly FreeDomain[], from: number, left: number): void => {
    if (set.length === size) {
      if (left <= 0) sets.push(set)
      return
    }
    const missing = size - set.length
    for (let next = from; next <= bySize.length - missing && sets.length < mostSets; next++) {
      const domain = bySize[next]
      // The rest is no larger, so where this is too small all of it is.
      if (domain === undefined || domain.slots * missing < left) return
      grow([...set, domain], next + 1, left - domain.slots)
    }
  }
  grow([], 0, count)
  return sets.flatMap((set) => set.map((last) => [...set.filter((domain) => domain !== last), last]))
}

function takeCores(set: readonly FreeDomain[], count: number, room: Room): readonly TakenCore[] {
  const all = set.flatMap(({ cores }) => cores)
  if (room.mode === 'spread') return oneEach(all, count)
  const taken: TakenCore[] = []
  let left = count
  for (const { cores, slots } of set) {
    const share = Math.min(left, slots)
    taken.push(...fill(cores, share))
    left -= share
  }
  return taken
}

/** Core by core, each to its last thread. */
function fill(cores: readonly FreeCore[], count: number): readonly TakenCore[] {
  const taken: TakenCore[] = []
  let left = count
  for (const free of cores.toSorted(byWorth)) {
    if (left === 0) break
    const vcpus = Math.min(left, free.slots)
    taken.push({ ...free, cpus: free.cpus.slice(0, vcpus), vcpus })
    left -= vcpus
  }
  return taken
}

/** One vCPU to a core, and a second round only when all have one. A vCPU may use all free threads of its core. */
function oneEach(cores: readonly FreeCore[], count: number): readonly TakenCore[] {
  const sorted = cores.toSorted((a, b) => byWorth(a, b) || b.slots - a.slots)
  const given = new Map<FreeCore, number>()
  let left = count
  while (left > 0) {
    const round = sorted.filter((free) => (given.get(free) ?? 0) < free.slots).slice(0, left)
    if (round.length === 0) break
    for (const free of round) given.set(free, (given.get(free) ?? 0) + 1)
    left -= round.length
  }
  return [...given].map(([free, vcpus]) => ({ ...free, vcpus }))
}

/** Isolated cores first, whole ones before used ones, and the core for the host's own work last. */
function byWorth(a: FreeCore, b: FreeCore): number {
  return (
    Number(b.core.isolated) - Number(a.core.isolated) ||
    Number(a.core.house) - Number(b.core.house) ||
    Number(b.whole) - Number(a.whole) ||
    a.core.core - b.core.core
  )
}
