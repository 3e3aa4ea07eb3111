/**
 * Which kinds of cores a machine has. Pure.
 *
 * Told by the PMUs of Intel's hybrid processors; else by the parts that ARM's /proc/cpuinfo names; else by strength: the capacity
 * that the scheduler counts with, or the highest clock. A favoured core of the same kind clocks a few per cent higher, so only a gap
 * of a tenth tells two kinds apart.
 */
import type { CpuReading, CpusReading } from './cpu-reading.ts'

const leastGap = 0.1

export interface CoreKind {
  readonly kind: string
  readonly cpus: readonly number[]
  readonly maxMhz?: number
  readonly capacity?: number
}

/** The kinds, the strongest first; none when all cores are of one. */
export function coreKinds(cpus: CpusReading, parts: ReadonlyMap<number, string>): readonly CoreKind[] {
  const byPmu = hybridGroups(cpus)
  if (byPmu.length > 1) return byPmu.map(({ kind, members }) => describe(kind, members))
  const groups = groupsOf(cpus.online, (cpu) => parts.get(cpu.cpu) ?? '').flatMap(splitByStrength)
  if (groups.length < 2) return []
  const ranked = groups.toSorted((a, b) => strengthOf(b) - strengthOf(a))
  return ranked.map((members, index) => describe(rankName(index, ranked.length), members))
}

function hybridGroups({ online, hybrid }: CpusReading) {
  return [...hybrid].flatMap(([kind, list]) => {
    const members = online.filter(({ cpu }) => list.includes(cpu))
    return members.length === 0 ? [] : [{ kind, members }]
  })
}

function groupsOf(
  cpus: readonly CpuReading[],
  keyOf: (cpu: CpuReading) => string,
): readonly (readonly CpuReading[])[] {
  return [...Map.groupBy(cpus, keyOf).values()]
}

/** Parts a group where the strength of its CPUs jumps. */
function splitByStrength(group: readonly CpuReading[]): readonly (readonly CpuReading[])[] {
  const measure = measureFor(group)
  if (measure === undefined) return [group]
  const sorted = group.toSorted((a, b) => (measure(b) ?? 0) - (measure(a) ?? 0))
  const parts: CpuReading[][] = []
  for (const cpu of sorted) {
    const last = parts.at(-1)?.at(-1)
    const isFar = last === undefined || (measure(cpu) ?? 0) < (measure(last) ?? 0) * (1 - leastGap)
    if (isFar) parts.push([cpu])
    else parts.at(-1)?.push(cpu)
  }
  return parts
}

/** What all CPUs of a group say and at least two say differently. */
function measureFor(group: readonly CpuReading[]): ((cpu: CpuReading) => number | undefined) | undefined {
  const measures = [(cpu: CpuReading) => cpu.capacity, (cpu: CpuReading) => cpu.maxKhz]
  return measures.find((measure) => {
    const values = new Set(group.map(measure))
    return values.size > 1 && !values.has(undefined)
  })
}

function strengthOf(group: readonly CpuReading[]): number {
  const highest = (measure: (cpu: CpuReading) => number | undefined) =>
    group.reduce((most, cpu) => Math.max(most, measure(cpu) ?? 0), 0)
  return highest((cpu) => cpu.capacity) * 1e9 + highest((cpu) => cpu.maxKhz)
}

function rankName(index: number, count: number): string {
  if (index === 0) return 'performance'
  if (index === count - 1) return 'efficiency'
  return count === 3 ? 'medium' : `medium-${index}`
}

function describe(kind: string, members: readonly CpuReading[]): CoreKind {
  const highest = (values: readonly (number | undefined)[]) => {
    const known = values.flatMap((value) => value ?? [])
    return known.length === 0 ? undefined : known.reduce((most, value) => Math.max(most, value))
  }
  const khz = highest(members.map((cpu) => cpu.maxKhz))
  const capacity = highest(members.map((cpu) => cpu.capacity))
  return {
    kind,
    cpus: members.map(({ cpu }) => cpu).sort((a, b) => a - b),
    ...(khz === undefined ? {} : { maxMhz: Math.round(khz / 1000) }),
    ...(capacity === undefined ? {} : { capacity }),
  }
}
