/** What was looked at, as it is told: the chosen set of nodes, the others with what speaks against them, and each L3 within. */

import type { PlacementCandidate } from '@kvasir/contract'
import { formatCpuList } from '@kvasir/contract'
import type { FreeDomain } from './choose-cores.ts'
import type { Room } from './free-threads.ts'
import { whoHolds } from './holder-words.ts'
import type { Judged } from './judge-nodes.ts'

/** The most sets that are told of; on large hosts, the cheapest. */
const mostTold = 12

/** The judged sets as candidates, the chosen one first, then by cost; nodes without CPUs are named too. */
export function candidatesOf(
  judged: readonly Judged[],
  { chosen, room }: { readonly chosen: Judged | undefined; readonly room: Room },
): PlacementCandidate[] {
  const told = judged
    .toSorted((a, b) => rank(a, chosen) - rank(b, chosen) || a.set.length - b.set.length || a.cost - b.cost)
    .slice(0, mostTold)
    .map((one) => candidateOf(one, chosen, room))
  const bare = room.map.nodes.filter(({ cores }) => cores.length === 0)
  return [
    ...told,
    ...bare.map(({ node }) => ({
      nodes: [node],
      verdict: 'does-not-fit' as const,
      reason: 'it has no CPU that VMs may use',
      terms: [],
      l3: [],
    })),
  ]
}

/** What memory lacks where that alone is in the way. */
export function memoryOnly(judged: readonly Judged[]): string | undefined {
  return judged.find(({ lacks }) => lacks?.includes('of memory'))?.lacks
}

function rank(one: Judged, chosen: Judged | undefined): number {
  if (one === chosen) return 0
  return one.lacks === undefined ? 1 : 2
}

function candidateOf(one: Judged, chosen: Judged | undefined, room: Room): PlacementCandidate {
  const nodes = one.set.map(({ node }) => node)
  const l3 = one.free.flatMap((domains, index) => {
    const place = one.places[index]
    return domains.map((domain) => l3Use(domain, { place, room }))
  })
  const terms = one.terms.map(({ what, cost }) => ({ what, cost }))
  if (one.lacks !== undefined) return { nodes, verdict: 'does-not-fit', reason: one.lacks, terms: [], l3 }
  const cost = round(one.cost)
  if (one === chosen) {
    const reason = terms.length === 0 ? 'nothing speaks against it' : 'it costs the least'
    return { nodes, verdict: 'chosen', reason, cost, terms, l3 }
  }
  const more = chosen === undefined ? 0 : round(one.cost - chosen.cost)
  const reason = more === 0 ? 'it costs the same and comes later' : `it costs ${more} more`
  return { nodes, verdict: 'costlier', reason, cost, terms, l3 }
}

function l3Use(
  { domain, cores, slots, total }: FreeDomain,
  { place, room }: { readonly place: Judged['places'][number] | undefined; readonly room: Room },
): PlacementCandidate['l3'][number] {
  const choice = place?.choice
  const mine = choice?.cores.filter(({ core }) => core.l3 === domain.l3) ?? []
  const taken = mine.reduce((sum, { vcpus }) => sum + vcpus, 0)
  const wanted = choice?.cores.reduce((sum, { vcpus }) => sum + vcpus, 0) ?? 0
  const cpus = formatCpuList(cores.flatMap(({ cpus: free }) => free))
  const held = whoHolds(
    [{ node: domain.node, socket: 0, memoryNode: 0, cores: domain.cores, domains: [domain] }],
    room,
  )
  const why = () => {
    if (taken > 0)
      return slots === taken ? 'taken, and full then' : `taken; ${slots - taken} of its threads stay free`
    if (slots === 0) return held === '' ? 'nothing is free' : held
    if (choice === undefined) return `${cpus} could be had`
    if (slots < wanted)
      return `too few threads for ${wanted} vCPUs together${held === '' ? '' : ` (${held})`}`
    return passedWords(domain.l3, place)
  }
  const free = Math.min(slots, cores.flatMap(({ cpus: own }) => own).length)
  return { l3: domain.l3, node: domain.node, free, total, taken: Math.min(taken, total), why: why() }
}

/** Why a domain that would do was not taken: the terms in which it is worse. */
function passedWords(l3: string, place: Judged['places'][number] | undefined): string {
  const passed = place?.passed.find((other) => other.l3.length === 1 && other.l3[0] === l3)
  if (place === undefined || passed === undefined) return 'it would not make the domains fewer'
  const more = round(passed.cost - place.choice.cost)
  if (more <= 0) return 'as good, but with a higher number'
  const same = new Set(place.choice.terms.map(({ what }) => what))
  const words = passed.terms
    .filter(({ what }) => !same.has(what))
    .toSorted((a, b) => b.cost - a.cost)
    .map(({ what }) => what)
  return `costs ${more} more: ${words[0] ?? ''}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
