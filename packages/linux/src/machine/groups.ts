/**
 * From what each CPU says of its siblings to groups that part the CPUs: each CPU is in exactly one. Pure.
 *
 * A CPU belongs to the first set that names it, as lscpu decides; where it says nothing, ids decide. Sets that contradict each other
 * or name CPUs that are not there come from broken firmware and from captures, and still give a partition.
 */
import type { CpuReading } from './cpu-reading.ts'

export interface Group {
  readonly cpus: readonly CpuReading[]
  /** The lowest CPU. */
  readonly first: CpuReading
}

/** How to tell who belongs together. */
export interface Grouping {
  readonly siblings: (cpu: CpuReading) => readonly number[] | undefined
  /** What is equal for the CPUs of a group that says no siblings; undefined where that is unknown as well. */
  readonly key: (cpu: CpuReading) => string
}

/** The groups of these CPUs, in the order of their lowest. */
export function groupCpus(cpus: readonly CpuReading[], { siblings, key }: Grouping): readonly Group[] {
  const claims = new Map<number, string>()
  const members = new Map<string, CpuReading[]>()
  for (const cpu of cpus) {
    const named = siblings(cpu)
    const isUsable = named?.includes(cpu.cpu) === true
    const group = claims.get(cpu.cpu) ?? (isUsable ? `cpu ${cpu.cpu}` : `key ${key(cpu)}`)
    if (isUsable && !claims.has(cpu.cpu))
      for (const sibling of named) if (!claims.has(sibling)) claims.set(sibling, group)
    const list = members.get(group)
    if (list === undefined) members.set(group, [cpu])
    else list.push(cpu)
  }
  return [...members.values()].flatMap((list) => {
    const [first] = list
    return first === undefined ? [] : [{ cpus: list, first }]
  })
}
