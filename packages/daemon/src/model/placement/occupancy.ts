/**
 * Who holds which CPUs and how much memory of which node, from the placements of the VMs that run.
 *
 * A dedicated VM holds the hardware threads of its vCPUs alone. The others share: their vCPUs count on each CPU that they may use, by
 * equal parts. Emulator and I/O threads weigh nothing, but no dedicated vCPU is put under them. A VM that is not placed and not pinned
 * holds nothing.
 */

/** What one VM holds. */
export interface Holding {
  readonly vm: string
  readonly dedicated: readonly number[]
  /** For each vCPU that shares: the CPUs it may run on. */
  readonly shared: readonly (readonly number[])[]
  readonly helpers: readonly number[]
  readonly memory: readonly { readonly node: number; readonly bytes: number }[]
  /** Its memory is not taken yet, so that the host counts it as free. */
  readonly isUntaken?: boolean
}

/** What is taken of a host. */
export interface Occupancy {
  /** The VM that has a CPU for itself. */
  holderOf(cpu: number): string | undefined
  /** vCPUs that share a CPU, such as 0.5 for one that may use two. */
  loadOf(cpu: number): number
  /** VMs whose vCPUs or helpers may run on a CPU, without a dedicated one. */
  sharersOf(cpu: number): readonly string[]
  /** Memory of a node that placed VMs were promised. */
  promisedBytes(node: number): number
  /** Of these, what is not taken yet, and counts as free. */
  untakenBytes(node: number): number
  /** The CPUs that VMs have for themselves, by VM. */
  readonly dedicated: readonly { readonly vm: string; readonly cpus: readonly number[] }[]
}

/** Adds up what VMs hold. */
export function occupancyOf(holdings: readonly Holding[]): Occupancy {
  const holders = new Map<number, string>()
  const loads = new Map<number, number>()
  const sharers = new Map<number, Set<string>>()
  const promised = new Map<number, number>()
  const untaken = new Map<number, number>()
  for (const { vm, dedicated, shared, helpers, memory, isUntaken } of holdings) {
    for (const cpu of dedicated) holders.set(cpu, vm)
    for (const cpus of shared) for (const cpu of cpus) loads.set(cpu, (loads.get(cpu) ?? 0) + 1 / cpus.length)
    for (const cpu of [...shared.flat(), ...helpers]) {
      const names = sharers.get(cpu) ?? new Set<string>()
      sharers.set(cpu, names.add(vm))
    }
    for (const { node, bytes } of memory) {
      promised.set(node, (promised.get(node) ?? 0) + bytes)
      if (isUntaken) untaken.set(node, (untaken.get(node) ?? 0) + bytes)
    }
  }
  return {
    holderOf: (cpu) => holders.get(cpu),
    loadOf: (cpu) => loads.get(cpu) ?? 0,
    sharersOf: (cpu) => [...(sharers.get(cpu) ?? [])],
    promisedBytes: (node) => promised.get(node) ?? 0,
    untakenBytes: (node) => untaken.get(node) ?? 0,
    dedicated: holdings
      .filter(({ dedicated }) => dedicated.length > 0)
      .map(({ vm, dedicated }) => ({ vm, cpus: [...dedicated].sort((a, b) => a - b) })),
  }
}
