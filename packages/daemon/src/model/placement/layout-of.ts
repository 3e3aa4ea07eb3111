/** A plan as the layout that a starter applies. */
import { type PlacementPlan, parseCpuList, type VmSpec } from '@kvasir/contract'
import type { ThreadLayout } from './thread-layout.ts'

/**
 * The layout of a plan. CPUs that are not usable any more are left out; a thread that would have none may run on all of the VM's. Threads
 * that the plan does not know, such as vCPUs plugged later, stay on the VM's CPUs, as do those that the spec pins elsewhere.
 */
export function layoutOf(
  { threads }: PlacementPlan,
  { cpu, usable }: { readonly cpu: VmSpec['cpu']; readonly usable: readonly number[] },
): ThreadLayout {
  const { vcpus, emulator = [], ioThreads, memoryNodes } = threads
  const isUsable = new Set(usable)
  const left = (cpus: readonly number[]) => cpus.filter((one) => isUsable.has(one))
  const named = <Key>(list: readonly (readonly [Key, readonly number[]])[]) =>
    new Map(list.map(([key, cpus]) => [key, left(cpus)] as const).filter(([, cpus]) => cpus.length > 0))
  const { pin } = cpu
  const own = [pin?.emulator, pin?.vhost]
  const pins = [...own, ...Object.values(pin?.vcpus ?? {}), ...Object.values(pin?.ioThreads ?? {})]
  const all = left([
    ...emulator,
    ...[...vcpus, ...ioThreads].flatMap(({ cpus }) => cpus),
    ...pins.flatMap((list) => (list === undefined ? [] : (parseCpuList(list) ?? []))),
  ])
  const helpers = left(emulator)
  return {
    ...(all.length > 0 ? { allowedCpus: [...new Set(all)].sort((a, b) => a - b) } : {}),
    vcpus: named(vcpus.map(({ vcpu, cpus }) => [vcpu, cpus])),
    ...(helpers.length > 0 ? { emulator: helpers } : {}),
    ioThreads: named(ioThreads.map(({ disk, cpus }) => [disk, cpus])),
    ...(memoryNodes === undefined ? {} : { memoryNodes }),
  }
}
