/**
 * A place for a VM beside VMs that run, of which one may be moved to make room.
 *
 * Invariants: at most one VM is moved, and only where the newcomer is then on no more L3 domains than it needs and otherwise would be,
 * or would find no place. Who is moved stays on its nodes, so its memory stays; it is on no more L3 domains than before, and its guest
 * is shown what it was shown. Who needs no room moves nobody, so the same question asked again after the move moves nobody.
 *
 * Not here: who may be moved, and how (services/placement/make-room.ts).
 */
import { isDeepStrictEqual } from 'node:util'
import type { PlacementPlan } from '@kvasir/contract'
import { holdingOf } from './holding-of.ts'
import { mapHost } from './host-map.ts'
import { leastDomains } from './least-domains.ts'
import { planPlacement } from './plan-placement.ts'
import type { PlacementDecision, PlacementHost, PlacementRequest } from './request.ts'

/** A VM that runs and may be moved: what it asks for and where it is. */
export interface Mover {
  readonly request: PlacementRequest
  readonly plan: PlacementPlan
}

/** A VM that is moved, and where to. */
export interface Move {
  readonly vm: string
  readonly former: PlacementPlan
  readonly plan: PlacementPlan
}

/** A place, and who is moved before it is taken. */
export interface DecisionWithMoves {
  readonly decision: PlacementDecision
  readonly moves: readonly Move[]
}

/** So many VMs are thought of, those with the fewest vCPUs first: they lose the least of their caches. */
const mostTried = 16

/** Places a VM, and says who is to be moved first. */
export function planWithMoves(
  request: PlacementRequest,
  host: PlacementHost,
  movers: readonly Mover[],
): DecisionWithMoves {
  const direct = planPlacement(request, host)
  if (movers.length === 0) return { decision: direct, moves: [] }
  const least = leastDomains(request.vcpus, mapHost(host.topology, host.allowed))
  const isGood = (decision: PlacementDecision) =>
    decision.kind === 'placed' && domainsOf(decision.plan, host) <= least
  if (isGood(direct)) return { decision: direct, moves: [] }
  const bySize = movers.toSorted((a, b) => a.request.vcpus - b.request.vcpus).slice(0, mostTried)
  for (const mover of bySize) {
    const without = host.holdings.filter(({ vm }) => vm !== mover.request.vm)
    const decision = planPlacement(request, { ...host, holdings: without })
    if (decision.kind !== 'placed' || !isGood(decision)) continue
    const newcomer = holdingOf(request.vm, { plan: decision.plan, memoryBytes: request.memoryBytes })
    const plan = moved(mover, { ...host, holdings: [...without, newcomer] })
    if (plan === undefined) continue
    const step = `It was moved while it ran, to make room for VM ${request.vm}.`
    const told = { ...plan, steps: [step, ...plan.steps] }
    return { decision, moves: [{ vm: mover.request.vm, former: mover.plan, plan: told }] }
  }
  return { decision: direct, moves: [] }
}

/** The place of a VM that makes room; undefined where it cannot without losing something. */
function moved({ request, plan: former }: Mover, host: PlacementHost): PlacementPlan | undefined {
  const nodes = new Set(nodesOf(former, host))
  const near = host.topology.nodes.filter(({ node }) => nodes.has(node)).flatMap(({ cpus }) => cpus)
  const cpus = request.cpus?.filter((cpu) => near.includes(cpu)) ?? near
  // Its memory is there already, so what is free says nothing.
  const topology = {
    ...host.topology,
    nodes: host.topology.nodes.map(({ freeBytes: _free, ...node }) => node),
  }
  const decision = planPlacement({ ...request, cpus }, { ...host, topology, pageRoom: undefined })
  if (decision.kind !== 'placed') return undefined
  const { plan } = decision
  const isSame =
    isDeepStrictEqual(plan.guest, former.guest) &&
    isDeepStrictEqual(plan.threads.memoryNodes, former.threads.memoryNodes)
  return isSame && domainsOf(plan, host) <= domainsOf(former, host) ? plan : undefined
}

function nodesOf(plan: PlacementPlan, host: PlacementHost): readonly number[] {
  return coresOf(plan, host).map(({ node = 0 }) => node)
}

/** How many L3 domains the vCPUs of a plan are on; those of two nodes are two. */
function domainsOf(plan: PlacementPlan, host: PlacementHost): number {
  return new Set(coresOf(plan, host).map(({ node = 0, l3 }) => `${node}/${l3}`)).size
}

function coresOf({ threads }: PlacementPlan, { topology }: PlacementHost) {
  const own = new Set(threads.vcpus.flatMap(({ cpus }) => cpus))
  return topology.cores.filter(({ cpus }) => cpus.some((cpu) => own.has(cpu)))
}
