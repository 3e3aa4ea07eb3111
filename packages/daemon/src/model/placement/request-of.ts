/** What the planner is asked for a VM of a spec, and how its answer is told. */
import {
  type GuestShape,
  hugePageBytes,
  ioThreadsOf,
  parseCpuList,
  type VmPlacement,
  type VmSpec,
} from '@kvasir/contract'
import type { DecisionWithMoves, Move } from './plan-moves.ts'
import type { PlacementRequest } from './request.ts'

/** Why a VM has no place, as a clause that can follow `because`. */
export const notPlaced = 'its cpu.placement is none, so the scheduler of the host places it'

/** The request of a VM that is to be placed; undefined where its spec leaves that to the scheduler. */
export function requestOf(
  vm: string,
  spec: VmSpec,
  {
    devices = [],
    guest,
  }: { readonly devices?: readonly string[] | undefined; readonly guest?: GuestShape | undefined } = {},
): PlacementRequest | undefined {
  const { placement, count, cpus } = spec.cpu
  if (placement === 'none') return undefined
  // A microvm knows no NUMA nodes, so it can neither be shown any nor be parted over them.
  const numa = spec.machine.type === 'microvm' && spec.cpu.numa === 'auto' ? 'off' : spec.cpu.numa
  return {
    vm,
    placement,
    numa,
    // One that is plugged later is to find its thread free.
    vcpus: placement === 'dedicated' ? Math.max(count, spec.cpu.max ?? count) : count,
    memoryBytes: spec.memory.size,
    pageBytes: spec.memory.pageSize === 'default' ? undefined : hugePageBytes[spec.memory.pageSize],
    memoryNodes: spec.memory.nodes,
    ioThreads: ioThreadsOf(spec.disks),
    devices,
    cpus: cpus === undefined ? undefined : parseCpuList(cpus),
    guest,
  }
}

/** A decision for a start that would come now; undefined for a VM that is not placed. */
export function placementOf(vm: string, made: DecisionWithMoves | undefined): VmPlacement {
  if (made === undefined) return { name: vm, state: 'none', reason: notPlaced, rejected: [] }
  const { decision, moves } = made
  if (decision.kind === 'placed')
    return {
      name: vm,
      state: 'next-start',
      reason: 'a start would place it so now',
      plan: decision.plan,
      rejected: [],
      ...(moves.length === 0 ? {} : { moves: moves.map(toldMove) }),
    }
  return { name: vm, state: 'refused', reason: decision.reason, rejected: [...decision.candidates] }
}

function toldMove({ vm, former, plan }: Move) {
  const cpusOf = ({ threads }: Move['plan']) => [...new Set(threads.vcpus.flatMap(({ cpus }) => cpus))]
  return { vm, from: cpusOf(former), to: cpusOf(plan) }
}
