/**
 * What the VMs hold that are not off, as a planner of another one must count it.
 *
 * A VM that starts has not taken its memory yet: what the host says is free then still counts what it will take. One whose placement
 * cannot be read may be on any CPU, so it holds all of them until its threads have said where they are.
 */
import { hugePageBytes, parseCpuList } from '@kvasir/contract'
import { holdingOf } from '../../model/placement/holding-of.ts'
import type { Holding } from '../../model/placement/occupancy.ts'
import { isOff } from '../../model/vm/is-off.ts'
import type { VmRecord } from '../../ports/store.ts'

/** What was read of the host's memory: when, and of which kind. */
export interface MemoryReading {
  /** The ids of the VMs that were starting before it was read. */
  readonly startingBefore: ReadonlySet<string>
  /** Reserved huge pages of this size were read; undefined: pages of the kernel. */
  readonly pageBytes: number | undefined
  /** The names of VMs for which pages were counted as taken already. */
  readonly promisedTo: readonly string[]
}

/** Whether a VM has its place, and its emulator is not there yet. */
export function isStarting(record: Pick<VmRecord, 'life' | 'run' | 'placement'>): boolean {
  return record.placement !== undefined && record.run === undefined && !isOff(record)
}

/** What each of the VMs holds, but for one. */
export function holdingsOf(
  records: readonly VmRecord[],
  beside: { readonly except: string; readonly allowed: readonly number[]; readonly memory: MemoryReading },
): readonly Holding[] {
  return records
    .filter((record) => record.id !== beside.except && !isOff(record))
    .flatMap((record) => {
      const { name, placement, run, spec, placementLost } = record
      if (placementLost !== undefined)
        return [{ vm: name, dedicated: beside.allowed, shared: [], helpers: [], memory: [] }]
      if (placement === undefined) return pinned(record)
      const memoryBytes = (run?.bootedSpec ?? spec).memory.size
      const holding = holdingOf(name, { plan: placement.plan, memoryBytes })
      return [isUntaken(record, beside.memory) ? { ...holding, isUntaken: true } : holding]
    })
}

/** Whether what was read still counts as free what a VM that starts will take. */
function isUntaken(record: VmRecord, { startingBefore, pageBytes, promisedTo }: MemoryReading): boolean {
  if (!isStarting(record) && !startingBefore.has(record.id)) return false
  const { pageSize } = record.spec.memory
  const own = pageSize === 'default' ? undefined : hugePageBytes[pageSize]
  return own === pageBytes && !promisedTo.includes(record.name)
}

/** A VM that is pinned by hand shares the CPUs that it is pinned to, or those that it is confined to. */
function pinned({ name, spec }: VmRecord): readonly Holding[] {
  const { pin, cpus, count } = spec.cpu
  const listOf = (text: string | undefined) => (text === undefined ? undefined : parseCpuList(text))
  const own = listOf(cpus)
  const shared = Array.from({ length: count }, (_, vcpu) => listOf(pin?.vcpus[String(vcpu)]) ?? own ?? [])
  const helpers = [pin?.emulator, pin?.vhost, ...Object.values(pin?.ioThreads ?? {})].flatMap(
    (text) => listOf(text) ?? [],
  )
  const some = shared.filter((list) => list.length > 0)
  return some.length + helpers.length === 0
    ? []
    : [{ vm: name, dedicated: [], shared: some, helpers, memory: [] }]
}
