/**
 * What speaks against cores within a node, as numbers that add up. They are ranks rather than nanoseconds. One more L3 domain than
 * needed costs as much for this VM as for the one that comes next; what keeps domains whole outweighs sharing a core, of which there
 * is little where domains are full.
 */
import type { FreeDomain, TakenCore } from './choose-cores.ts'
import type { Room } from './free-threads.ts'
import type { Outlook } from './outlook.ts'

/** What speaks against a place, and how much. */
export interface CostTerm {
  readonly what: string
  readonly cost: number
}

const weights = {
  extraL3: 100,
  outlook: 100,
  sharedCore: 10,
  sharedCoresMost: 20,
  houseCore: 3,
  mixedKinds: 150,
  weakerKind: 10,
  notIsolated: 80,
  siblingsOfOne: 15,
  overcommit: 60,
  leftover: 20,
} as const

interface Choice {
  readonly cores: readonly TakenCore[]
  readonly domains: readonly FreeDomain[]
  readonly room: Room
  readonly leastL3: number
  readonly outlook?: Outlook | undefined
}

/** The terms of a choice of cores; those of nothing are left out. */
export function coreCosts(choice: Choice): readonly CostTerm[] {
  const { cores, room } = choice
  return [
    l3Cost(choice),
    sharedCost(cores),
    term(
      weights.houseCore,
      cores.filter(({ core }) => core.house),
      (names) => `takes ${names}, where the node's interrupts and emulator threads belong`,
    ),
    ...kindCosts(choice),
    isolationCost(choice),
    siblingCost(choice),
    loadCost(choice),
    leftoverCost(choice),
    outlookCost(choice),
  ]
    .filter((part) => part !== undefined && (part.cost > 0 || room.mode === 'spread'))
    .filter((part) => part !== undefined)
}

function l3Cost({ domains, leastL3 }: Choice): CostTerm | undefined {
  const extra = domains.length - leastL3
  if (extra <= 0) return undefined
  return {
    what: `is on ${domains.length} L3 domains where ${leastL3} would do on an empty host`,
    cost: weights.extraL3 * extra,
  }
}

function sharedCost(cores: readonly TakenCore[]): CostTerm | undefined {
  const shared = cores.filter(({ whole }) => !whole)
  const found = term(weights.sharedCore, shared, (names) => `shares ${names} with another VM`)
  return found && { ...found, cost: Math.min(found.cost, weights.sharedCoresMost) }
}

function kindCosts({ cores, room }: Choice): readonly (CostTerm | undefined)[] {
  const { kinds } = room.map
  if (kinds.length < 2) return []
  const used = [...new Set(cores.flatMap(({ core }) => core.kind ?? []))]
  const mixed = used.length > 1 && {
    what: `mixes cores of the kinds ${used.join(' and ')}, so that vCPUs differ in speed`,
    cost: weights.mixedKinds,
  }
  const rank = Math.max(0, ...used.map((kind) => kinds.indexOf(kind)))
  const weaker = rank > 0 && {
    what: `is on weaker cores (${used.join(', ')})`,
    cost: weights.weakerKind * rank,
  }
  return [mixed || undefined, weaker || undefined]
}

function isolationCost({ cores, room }: Choice): CostTerm | undefined {
  if (room.mode !== 'dedicated' || !room.map.hasIsolated) return undefined
  if (cores.every(({ core }) => core.isolated)) return undefined
  return {
    what: 'is on CPUs that are not isolated, though the host has isolated ones',
    cost: weights.notIsolated,
  }
}

/** A VM that wants a core for each vCPU and gets siblings. */
function siblingCost({ cores, room }: Choice): CostTerm | undefined {
  if (room.mode !== 'spread') return undefined
  const crowded = cores.reduce((sum, { vcpus }) => sum + vcpus - 1, 0)
  if (crowded === 0) return undefined
  return {
    what: `${crowded} vCPUs share a core with another of this VM`,
    cost: weights.siblingsOfOne * crowded,
  }
}

function loadCost({ cores, room }: Choice): CostTerm | undefined {
  if (room.perThread <= 1) return undefined
  const cpus = cores.flatMap(({ cpus: taken }) => taken)
  const load = cpus.reduce((sum, cpu) => sum + room.occupancy.loadOf(cpu), 0) / Math.max(1, cpus.length)
  return {
    what: `${load.toFixed(1)} vCPUs of others already share each of its CPUs`,
    cost: Math.round(weights.overcommit * load),
  }
}

/** Packing leaves as little as possible in a domain that was begun; spreading as much as possible. */
function leftoverCost({ cores, domains, room }: Choice): CostTerm | undefined {
  const total = domains.reduce((sum, domain) => sum + domain.total, 0)
  const free = domains.reduce((sum, { slots }) => sum + slots, 0)
  const left = Math.max(0, free - cores.reduce((sum, { vcpus }) => sum + vcpus, 0))
  const part = total === 0 ? 0 : left / total
  if (room.mode === 'spread')
    return { what: `its L3 is ${percent(1 - part)} taken then`, cost: round(weights.leftover * (1 - part)) }
  return {
    what: `leaves a hole of ${left} of ${total} threads in its L3`,
    cost: round(weights.leftover * part * domains.length),
  }
}

/** What it leaves to the VMs that come next. */
function outlookCost({ cores, domains, outlook }: Choice): CostTerm | undefined {
  if (outlook === undefined) return undefined
  const taken = domains.map(({ domain }) => ({
    domain,
    count: cores.filter(({ core }) => core.l3 === domain.l3).reduce((sum, { vcpus }) => sum + vcpus, 0),
  }))
  const part = outlook.crowdedAfter(taken)
  return {
    what: `leaves a host where the next VM is on more L3 domains than it needs in ${percent(part)} of the cases`,
    cost: round(weights.outlook * part),
  }
}

function term(
  weight: number,
  cores: readonly TakenCore[],
  say: (names: string) => string,
): CostTerm | undefined {
  if (cores.length === 0) return undefined
  const names = `core${cores.length > 1 ? 's' : ''} ${cores.map(({ core }) => core.core).join(', ')}`
  return { what: say(names), cost: weight * cores.length }
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`
}

function round(cost: number): number {
  return Math.round(cost * 10) / 10
}
