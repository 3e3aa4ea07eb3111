/** Who has the CPUs of some nodes, in words: for refusals and for what was rejected. */
import { formatCpuList } from '@kvasir/contract'
import type { Room } from './free-threads.ts'
import type { MapNode } from './host-map.ts'

/** The most VMs that a sentence names; more are counted. */
const mostNamed = 6

/** Such as `VM db1 has 2-5 for itself, 0,6 are kept for the host`; empty when nobody has any. */
export function whoHolds(nodes: readonly MapNode[], { map, occupancy, mode }: Room): string {
  const cpus = nodes.flatMap(({ cores }) => cores.flatMap((core) => core.cpus))
  const inside = new Set(cpus)
  const dedicated = occupancy.dedicated.flatMap(({ vm, cpus: held }) => {
    const here = held.filter((cpu) => inside.has(cpu))
    return here.length === 0 ? [] : [`VM ${vm} has ${formatCpuList(here)} for itself`]
  })
  const shared = mode === 'dedicated' ? sharers(cpus, { map, occupancy }) : []
  const kept = mode === 'dedicated' ? map.kept.filter((cpu) => inside.has(cpu)) : []
  const isolated = nodes
    .flatMap(({ cores }) => cores.filter((core) => core.isolated).flatMap((core) => core.cpus))
    .filter((cpu) => mode !== 'dedicated' && occupancy.holderOf(cpu) === undefined)
  return [
    ...named([...dedicated, ...shared]),
    ...(kept.length > 0 ? [`${formatCpuList(kept)} is kept for the host and for emulator threads`] : []),
    ...(isolated.length > 0 ? [`${formatCpuList(isolated)} is isolated from the scheduler`] : []),
  ].join(', ')
}

function sharers(
  cpus: readonly number[],
  { map, occupancy }: Pick<Room, 'map' | 'occupancy'>,
): readonly string[] {
  const kept = new Set(map.kept)
  const byVm = new Map<string, number[]>()
  for (const cpu of cpus) {
    if (kept.has(cpu)) continue
    for (const vm of occupancy.sharersOf(cpu)) byVm.set(vm, [...(byVm.get(vm) ?? []), cpu])
  }
  return [...byVm].map(([vm, held]) => `VM ${vm} may run on ${formatCpuList(held)}`)
}

function named(words: readonly string[]): readonly string[] {
  if (words.length <= mostNamed) return words
  return [...words.slice(0, mostNamed), `${words.length - mostNamed} more VMs have others`]
}
