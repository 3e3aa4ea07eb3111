/**
 * Decides where a VM lies on its host: which hardware threads its vCPUs, its emulator and its I/O threads run on, which nodes its
 * memory comes from, and what the guest is shown of that. It says what it looked at, what it chose, and why not the others.
 *
 * Invariants: no dedicated vCPU shares a hardware thread with anything else of any VM; nothing lies outside the allowed CPUs; the same
 * question has the same answer. As many nodes are taken as an empty host would need, so that what the guest is shown does not depend on who else is
 * there today; of these sets the one that costs the least. Only with `numa: off` more nodes are taken than that.
 *
 * Not here: whether a stored plan is kept (keep-plan.ts), and how a plan is applied to threads.
 */

import type { PlacementPlan } from '@kvasir/contract'
import { formatCpuList } from '@kvasir/contract'
import { placeHelpers, placeVcpus } from './assign-threads.ts'
import { freeDomains } from './choose-cores.ts'
import type { Room } from './free-threads.ts'
import { guestShape } from './guest-shape.ts'
import { whoHolds } from './holder-words.ts'
import { type HostMap, type MapNode, mapHost } from './host-map.ts'
import { type Attempt, type Judged, judgeNodes } from './judge-nodes.ts'
import { nodeSets } from './node-sets.ts'
import { occupancyOf } from './occupancy.ts'
import { outlookOf } from './outlook.ts'
import { planSteps, planSummary, planWarnings } from './plan-words.ts'
import { candidatesOf, memoryOnly } from './rejected-words.ts'
import type { PlacementDecision, PlacementHost, PlacementRequest } from './request.ts'

/** A host is overcommitted up to so many vCPUs on a hardware thread before a VM that shares is refused. */
const mostPerThread = 16

/** Places a VM. */
export function planPlacement(request: PlacementRequest, host: PlacementHost): PlacementDecision {
  const map = mapHost(host.topology, narrowed(host.allowed, request.cpus))
  const occupancy = occupancyOf(host.holdings)
  const refuse = (reason: string, judged: readonly Judged[], room: Room): PlacementDecision => ({
    kind: 'refused',
    reason,
    candidates: candidatesOf(judged, { chosen: undefined, room }),
    holders: occupancy.dedicated,
    kept: request.placement === 'dedicated' ? map.kept : [],
  })
  const tried = attemptsFor(request, host, { map, occupancy })
  let first: { readonly judged: readonly Judged[]; readonly attempt: Attempt } | undefined
  for (const attempt of tried) {
    const judged = judgeAll(attempt)
    first ??= { judged, attempt }
    const [best] = judged.filter(({ lacks }) => lacks === undefined).toSorted((a, b) => a.cost - b.cost)
    if (best === undefined) continue
    const plan = planOf(best, judged, attempt)
    if (plan !== undefined) return { kind: 'placed', plan }
    const reason = `no CPU is left for its emulator thread beside dedicated vCPUs (${whoHolds(map.nodes, attempt.room)})`
    return refuse(reason, judged, attempt.room)
  }
  const { judged, attempt } = first ?? { judged: [], attempt: undefined }
  const room = attempt?.room ?? { map, occupancy, mode: request.placement, perThread: 1 }
  return refuse(lackOf(request, judged, room), judged, room)
}

function narrowed(
  allowed: readonly number[] | undefined,
  cpus: readonly number[] | undefined,
): readonly number[] | undefined {
  if (allowed === undefined || cpus === undefined) return allowed ?? cpus
  return cpus.filter((cpu) => allowed.includes(cpu))
}

/** What is tried in turn: with memory at hand, then without, then with more vCPUs on a thread. */
function attemptsFor(
  request: PlacementRequest,
  host: PlacementHost,
  { map, occupancy }: Pick<Room, 'map' | 'occupancy'>,
): readonly Attempt[] {
  const bindings = { auto: [true, false], strict: [true], off: [false] }[request.numa]
  const isAlone = request.placement === 'dedicated'
  const most = isAlone ? 1 : mostPerThread
  // Those that come next may use CPUs that this one's spec forbids it.
  const whole = request.cpus === undefined ? map : mapHost(host.topology, host.allowed)
  const outlook = isAlone ? outlookOf({ map: whole, occupancy, mode: 'dedicated', perThread: 1 }) : undefined
  return Array.from({ length: most }, (_, index) => index + 1).flatMap((perThread) =>
    bindings.map((bindMemory) => ({
      request,
      host,
      bindMemory,
      outlook,
      room: { map, occupancy, mode: request.placement, perThread },
    })),
  )
}

/** Sets of nodes of the smallest size of which one fits; all of all sizes when none does. */
function judgeAll(attempt: Attempt): readonly Judged[] {
  const { request, room } = attempt
  const { map } = room
  const withCpus = map.nodes.filter(({ cores }) => cores.length > 0)
  const fixed = request.guest === undefined ? undefined : Math.max(1, request.guest.nodes.length)
  const most =
    request.numa !== 'off' ? leastNodes(request, attempt.host, map) : Math.min(withCpus.length, request.vcpus)
  const slots = new Map(withCpus.map((node) => [node, slotsOf(node, room)]))
  const all: Judged[] = []
  for (let size = fixed ?? 1; size <= (fixed ?? most); size++) {
    const sets = nearMemory(
      nodeSets(map, size, (node) => slots.get(node) ?? 0),
      request,
    )
    const judged = sets.map((set) => judgeNodes(set, attempt))
    all.push(...judged)
    if (judged.some(({ lacks }) => lacks === undefined)) break
  }
  return all
}

/** Where the spec says which nodes memory comes from, the sets whose memory that is, if there are such. */
function nearMemory(
  sets: readonly (readonly MapNode[])[],
  { memoryNodes = [] }: PlacementRequest,
): readonly (readonly MapNode[])[] {
  const near = sets.filter((set) => set.every(({ memoryNode }) => memoryNodes.includes(memoryNode)))
  return near.length > 0 ? near : sets
}

/** How many nodes the VM needs on a host that is empty. */
function leastNodes(request: PlacementRequest, { topology }: PlacementHost, map: HostMap): number {
  const nodes = map.nodes.filter(({ cores }) => cores.length > 0)
  const threads = nodes.map(({ cores }) => cores.flatMap(({ cpus }) => cpus).length)
  const memory = nodes.map(
    ({ memoryNode }) =>
      topology.nodes.find(({ node }) => node === memoryNode)?.memoryBytes ?? Number.POSITIVE_INFINITY,
  )
  const needed = Math.max(fewest(threads, request.vcpus), fewest(memory, request.memoryBytes))
  return Math.min(needed, nodes.length, request.vcpus)
}

/** How many of the largest sizes add up to an amount. */
function fewest(sizes: readonly number[], amount: number): number {
  const sorted = sizes.toSorted((a, b) => b - a)
  let [count, sum] = [0, 0]
  while (sum < amount && count < sorted.length) sum += sorted[count++] ?? 0
  return Math.max(1, count)
}

function planOf(best: Judged, judged: readonly Judged[], attempt: Attempt): PlacementPlan | undefined {
  const { request, room, bindMemory } = attempt
  const vcpus = placeVcpus(best, room)
  const helpers = placeHelpers(vcpus, best.set, room)
  if (helpers === undefined) return undefined
  const guest = guestShape(best, { room, showNodes: request.numa !== 'off', former: request.guest })
  const memoryNodes = [...new Set(best.set.map(({ memoryNode }) => memoryNode))]
  const { topology } = attempt.host
  const told = { best, request, room, vcpus, helpers, guest, bindMemory, topology }
  return {
    placement: request.placement,
    numa: request.numa,
    summary: planSummary(told),
    threads: {
      vcpus: vcpus.map(({ vcpu, cpus }) => ({ vcpu, cpus: [...cpus] })),
      emulator: [...helpers.cpus],
      ioThreads: request.ioThreads.map((disk) => ({ disk, cpus: [...helpers.cpus] })),
      // A kernel without NUMA binds nothing.
      ...(bindMemory && room.map.numa ? { memoryNodes } : {}),
    },
    guest,
    steps: [...planSteps(told)],
    candidates: [...candidatesOf(judged, { chosen: best, room })],
    warnings: [...planWarnings(told)],
  }
}

function lackOf(request: PlacementRequest, judged: readonly Judged[], room: Room): string {
  const { map } = room
  const total = map.nodes.flatMap(({ cores }) => cores.flatMap(({ cpus }) => cpus))
  if (total.length === 0) return `none of the CPUs that it is allowed is online (${allowedWords(request)})`
  const memory = memoryOnly(judged)
  if (memory !== undefined) return `its vCPUs would fit, but ${memory}`
  const free = map.nodes.flatMap((node) => freeDomains(node, room)).reduce((sum, { slots }) => sum + slots, 0)
  const held = whoHolds(map.nodes, room)
  if (free >= request.vcpus) {
    const parts = map.nodes.map((node) => `node ${node.node} has ${slotsOf(node, room)}`).join(', ')
    return `the ${request.vcpus} free hardware threads that it wants are not together: ${parts}${held === '' ? '' : `, for ${held}`}; with cpu.numa off it may lie on more nodes`
  }
  const what = request.placement === 'dedicated' ? 'free for a VM alone' : 'free'
  const count =
    free === 0 ? 'no hardware thread is' : `only ${free} hardware thread${free === 1 ? ' is' : 's are'}`
  return `${count} ${what} and it wants ${request.vcpus}${held === '' ? '' : `: ${held}`}`
}

function slotsOf(node: MapNode, room: Room): number {
  return freeDomains(node, room).reduce((sum, { slots }) => sum + slots, 0)
}

function allowedWords({ cpus }: PlacementRequest): string {
  return cpus === undefined ? 'the daemon may use none' : `its spec says ${formatCpuList(cpus)}`
}
