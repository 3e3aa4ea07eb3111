/**
 * Judges a set of nodes for a VM: whether its vCPUs and its memory fit there, on which cores, and what that costs.
 *
 * Invariant: a set that fits has a choice of cores for each part, in the order of the set.
 */
import { formatBytes } from '@kvasir/contract'
import { type CoreChoice, chooseCores, type FreeDomain, freeDomains } from './choose-cores.ts'
import type { CostTerm } from './core-costs.ts'
import type { Room } from './free-threads.ts'
import { whoHolds } from './holder-words.ts'
import type { MapNode } from './host-map.ts'
import { leastDomains } from './least-domains.ts'
import { memoryRoom } from './memory-room.ts'
import { nodeCosts } from './node-costs.ts'
import { type Part, splitOver } from './node-sets.ts'
import type { Outlook } from './outlook.ts'
import type { PlacementHost, PlacementRequest } from './request.ts'

/** What a set is judged by. */
export interface Attempt {
  readonly request: PlacementRequest
  readonly host: PlacementHost
  readonly room: Room
  /** Whether memory must fit on the nodes. */
  readonly bindMemory: boolean
  /** What is left to later VMs; absent for VMs that share. */
  readonly outlook?: Outlook | undefined
}

/** A judged set. */
export interface Judged {
  readonly set: readonly MapNode[]
  readonly free: readonly (readonly FreeDomain[])[]
  /** Where it fits: its parts with their cores. */
  readonly places: readonly (Part & {
    readonly choice: CoreChoice
    /** Other cores of the node that would do, the cheapest first. */
    readonly passed: readonly CoreChoice[]
  })[]
  readonly terms: readonly CostTerm[]
  readonly cost: number
  /** Why it does not fit. */
  readonly lacks: string | undefined
}

const defaultStepBytes = 2 * 2 ** 20

/** Judges one set of nodes. */
export function judgeNodes(set: readonly MapNode[], attempt: Attempt): Judged {
  const { room, outlook } = attempt
  const free = set.map((node) => freeDomains(node, room))
  const refuse = (lacks: string): Judged => ({ set, free, places: [], terms: [], cost: 0, lacks })
  const rooms = free.map((domains) => domains.reduce((sum, { slots }) => sum + slots, 0))
  const parts = partsOf(set, rooms, attempt)
  if (parts === undefined) return refuse(cpuLack(set, rooms, attempt))
  const lack = attempt.bindMemory ? memoryLack(parts, attempt) : undefined
  if (lack !== undefined) return refuse(lack)
  const places = parts.flatMap((part, index) => {
    const domains = free[index] ?? []
    const leastL3 = leastDomains(part.vcpus, room.map)
    const [choice, ...passed] = chooseCores(part.node, part.vcpus, { room, domains, leastL3, outlook })
    return choice === undefined ? [] : [{ ...part, choice, passed }]
  })
  if (places.length < parts.length) return refuse(cpuLack(set, rooms, attempt))
  const terms = [
    ...places.flatMap(({ choice, node }) =>
      choice.terms.map(({ what, cost }) => ({
        what: set.length > 1 ? `node ${node.node}: ${what}` : what,
        cost,
      })),
    ),
    ...nodeCosts(places, rooms, attempt),
  ].filter(({ cost }) => cost > 0)
  const cost = terms.reduce((sum, term) => sum + term.cost, 0)
  return { set, free, places, terms, cost, lacks: undefined }
}

/** How a saved guest is parted cannot change; any other is parted as the nodes have room. */
function partsOf(
  set: readonly MapNode[],
  rooms: readonly number[],
  { request, room }: Attempt,
): readonly Part[] | undefined {
  const former = request.guest?.nodes ?? []
  if (former.length > 0) {
    if (former.some(({ vcpus }, index) => vcpus.length > (rooms[index] ?? 0))) return undefined
    return set.map((node, index) => ({
      node,
      vcpus: former[index]?.vcpus.length ?? 0,
      memoryBytes: former[index]?.memoryBytes ?? 0,
    }))
  }
  const { vcpus, memoryBytes } = request
  const group =
    room.mode === 'dedicated'
      ? Math.max(1, ...set.flatMap(({ cores }) => cores.map(({ cpus }) => cpus.length)))
      : 1
  const stepBytes = Math.max(request.pageBytes ?? 0, defaultStepBytes)
  return splitOver(set, rooms, { vcpus, group, memoryBytes, stepBytes })
}

function cpuLack(set: readonly MapNode[], rooms: readonly number[], { request, room }: Attempt): string {
  const slots = rooms.reduce((sum, count) => sum + count, 0)
  const total = set.flatMap(({ cores }) => cores.flatMap(({ cpus }) => cpus)).length
  const held = whoHolds(set, room)
  const uneven = slots >= request.vcpus ? ', though not in parts that suit its threads' : ''
  const why = held === '' ? '' : ` (${held})`
  return `${slots} of ${total} hardware threads can be had and ${request.vcpus} are needed${uneven}${why}`
}

function memoryLack(parts: readonly Part[], { host, room }: Attempt): string | undefined {
  const wanted = new Map<number, number>()
  for (const { node, memoryBytes } of parts)
    wanted.set(node.memoryNode, (wanted.get(node.memoryNode) ?? 0) + memoryBytes)
  const { occupancy } = room
  const lacking = [...wanted].flatMap(([node, bytes]) => {
    const has = memoryRoom(node, { host, occupancy })
    return has === undefined || has >= bytes
      ? []
      : [`node ${node} has room for ${formatBytes(has)} of memory and ${formatBytes(bytes)} is needed there`]
  })
  return lacking.length === 0 ? undefined : lacking.join(', ')
}
