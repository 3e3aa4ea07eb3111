/**
 * The limits of a VM as files of its cgroup, and which of them somebody outside Kvasir has set since.
 *
 * Whoever sets one by hand keeps it, over restarts of the daemon too, until the spec says another value for it: neither what was written
 * last nor what the spec says has changed then, only what the kernel has. Format: the kernel's Documentation/admin-guide/cgroup-v2.rst.
 *
 * Not here: the CPUs of a VM. Where it runs is Kvasir's to see to, for others may have these CPUs for themselves.
 */
import type { VmSpec } from '@kvasir/contract'
import { cpuLimits } from '../placement/cpu-limits.ts'

/** Texts by the name of their file, such as `memory.max`. */
export type LimitFiles = Readonly<Record<string, string>>

/** A limit that somebody else has set, and what Kvasir had written. */
export interface OutsideLimit {
  readonly file: string
  readonly found: string
  readonly written: string
}

const pageBytes = 4096

/** The files for limits of memory, in bytes. */
export function memoryLimitFiles({
  high,
  hard,
  swap,
}: {
  readonly high?: number | undefined
  readonly hard?: number | undefined
  readonly swap?: number | undefined
}): LimitFiles {
  const text = (bytes: number | undefined) => (bytes === undefined ? 'max' : String(bytes))
  return { 'memory.high': text(high), 'memory.max': text(hard), 'memory.swap.max': text(swap) }
}

/** All limits that a spec sets, those too that it sets to none. */
export function limitFiles({ cpu, memory }: Pick<VmSpec, 'cpu' | 'memory'>): LimitFiles {
  const { 'cpuset.cpus': _cpus, ...shares } = cpuLimits(cpu, undefined).files
  return { ...memoryLimitFiles(memory), ...shares }
}

/** The limits that somebody else has set. Where nobody knows what was written last, there are none, and the spec rules. */
export function outsideLimits(limits: {
  readonly written: LimitFiles | undefined
  readonly wanted: LimitFiles
  readonly found: LimitFiles
}): readonly OutsideLimit[] {
  const { written = {}, wanted, found } = limits
  return Object.entries(written).flatMap(([file, text]) => {
    const now = found[file]
    const isOutside = now !== undefined && !isSame(now, text) && isSame(wanted[file] ?? '', text)
    return isOutside ? [{ file, found: now.trim(), written: text.trim() }] : []
  })
}

/** The kernel takes bytes by whole pages. */
function isSame(one: string, other: string): boolean {
  return canonical(one) === canonical(other)
}

function canonical(text: string): string {
  const trimmed = text.trim()
  if (!/^\d{4,15}$/.test(trimmed)) return trimmed
  const bytes = Number(trimmed)
  return bytes < pageBytes ? trimmed : String(bytes - (bytes % pageBytes))
}
