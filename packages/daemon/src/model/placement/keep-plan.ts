/**
 * A VM keeps its place over restarts: a plan that was made before is taken again, as long as VM and host are what they were and nobody
 * else is on its CPUs by now. What is free elsewhere is no reason to move.
 */
import { createHash } from 'node:crypto'
import type { HostTopology, PlacementPlan } from '@kvasir/contract'
import { holdingOf } from './holding-of.ts'
import { memoryRoom } from './memory-room.ts'
import { occupancyOf } from './occupancy.ts'
import { type DecisionWithMoves, type Mover, planWithMoves } from './plan-moves.ts'
import type { PlacementHost, PlacementRequest } from './request.ts'

/** A plan and what it was made for. */
export interface StoredPlan {
  readonly plan: PlacementPlan
  /** What VM and host were, but for who else was there. */
  readonly basis: string
}

/** A decision, whether it is a former one, and what it rests on. */
export interface KeptDecision extends DecisionWithMoves {
  readonly basis: string
  readonly kept: boolean
}

/** The former plan where it still holds, else a new one, for which VMs that may be moved make room. */
export function keepOrPlan(
  request: PlacementRequest,
  host: PlacementHost,
  stored: StoredPlan | undefined,
  movers: readonly Mover[] = [],
): KeptDecision {
  const basis = basisOf(request, host)
  if (stored !== undefined && stored.basis === basis && isPlaceFree(stored.plan, request, host))
    return { decision: { kind: 'placed', plan: stored.plan }, moves: [], basis, kept: true }
  return { ...planWithMoves(request, host, movers), basis, kept: false }
}

/** A digest: on large hosts the whole would be larger than all the rest of a VM's record. */
function basisOf(
  { vm: _vm, guest: _guest, ...request }: PlacementRequest,
  { topology, allowed }: PlacementHost,
): string {
  const text = JSON.stringify([request, allowed ?? null, shapeOf(topology)])
  return createHash('sha256').update(text).digest('hex')
}

/** The host without what changes from hour to hour. */
function shapeOf({ cores, l3, isolated, nodes, kinds }: HostTopology) {
  return [
    cores.map(({ core, node, l3: domain, cpus }) => [core, node, domain, cpus]),
    l3.map(({ l3: domain }) => domain),
    isolated,
    nodes.map(({ node, memoryBytes, distances }) => [
      node,
      memoryBytes,
      distances.map(({ distance }) => distance),
    ]),
    kinds.map(({ kind, cpus }) => [kind, cpus]),
  ]
}

/** Whether a VM could be where a plan says, beside those that hold something now. */
export function isPlaceFree(
  plan: PlacementPlan,
  { memoryBytes }: Pick<PlacementRequest, 'memoryBytes'>,
  host: PlacementHost,
): boolean {
  const occupancy = occupancyOf(host.holdings)
  const { dedicated, shared, helpers, memory } = holdingOf('', { plan, memoryBytes })
  const isNobodys = (cpu: number) => occupancy.holderOf(cpu) === undefined
  return (
    dedicated.every((cpu) => isNobodys(cpu) && occupancy.sharersOf(cpu).length === 0) &&
    [...shared.flat(), ...helpers].every(isNobodys) &&
    memory.every(({ node, bytes }) => (memoryRoom(node, { host, occupancy }) ?? bytes) >= bytes)
  )
}
