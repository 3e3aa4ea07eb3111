/** What the planner is asked for a VM of a spec, and how its answer is told. */
import { type GuestShape, parseCpuList, type VmPlacement, type VmSpec } from '@kvasir/contract'
import type { PlacementDecision, PlacementRequest } from './request.ts'

/** The request of a VM that is to be placed; undefined where its spec leaves that to the scheduler. */
export function requestOf(
  vm: string,
  spec: VmSpec,
  {
    devices = [],
    guest,
  }: { readonly devices?: readonly string[]; readonly guest?: GuestShape | undefined } = {},
): PlacementRequest | undefined {
  const { placement, numa, count, cpus } = spec.cpu
  if (placement === 'none') return undefined
  return {
    vm,
    placement,
    numa,
    vcpus: count,
    memoryBytes: spec.memory.size,
    ioThreads: spec.disks.filter(({ ioThread }) => ioThread).map(({ name }) => name),
    devices,
    cpus: cpus === undefined ? undefined : parseCpuList(cpus),
    guest,
  }
}

/** A decision for a start that would come now. */
export function placementOf(vm: string, decision: PlacementDecision): VmPlacement {
  if (decision.kind === 'placed')
    return {
      name: vm,
      state: 'next-start',
      reason: 'a start would place it so now',
      plan: decision.plan,
      rejected: [],
    }
  return { name: vm, state: 'refused', reason: decision.reason, rejected: [...decision.candidates] }
}
