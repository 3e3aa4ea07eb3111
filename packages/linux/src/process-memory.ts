/**
 * What the kernel holds for a process: resident, swapped, merged by KSM, in huge pages by size, by NUMA node.
 *
 * Counters first: /proc/PID/status and ksm_stat, and of a process that has a cgroup of its own with the memory controller memory.stat
 * and memory.numa_stat. They cost microseconds at any size. Walks (smaps_rollup, numa_maps) take 2 to 34 ms per GiB of 4 KiB pages and
 * hold a lock of the process meanwhile; they are for what no counter tells, and only up to a size that the caller names.
 *
 * Formats: proc(5), the kernel's Documentation/filesystems/proc.rst, admin-guide/mm/ksm.rst, admin-guide/cgroup-v2.rst.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Pages of one size, in bytes. */
export interface HugeMemory {
  readonly kind: 'transparent' | 'reserved'
  readonly pageBytes: number
  readonly bytes: number
}

export interface ProcessMemory {
  /** With reserved huge pages, which the kernel leaves out of the resident size. */
  readonly residentBytes: number
  readonly swappedBytes: number
  /** Undefined where no counter tells. */
  readonly zswappedBytes: number | undefined
  /** Pages that KSM has merged with equal ones; undefined on kernels before 5.19. */
  readonly ksmBytes: number | undefined
  readonly huge: readonly HugeMemory[]
  /** Undefined where it could only be had by a walk that would take too long. */
  readonly nodes: readonly { readonly node: number; readonly bytes: number }[] | undefined
  /** Why walks were left out; undefined where none was. */
  readonly unwalked: 'too-large' | 'too-slow' | undefined
}

export interface ProcessMemoryOptions {
  /** The process's own cgroup v2. */
  readonly cgroup: string
  /** Processes with more resident memory than this, reserved huge pages not counted, are not walked. */
  readonly walkBytes: number
  /** Does a walk, or answers undefined when it takes too long; unless told, each walk is done, however long it takes. */
  readonly walk?: <T>(work: () => Promise<T>) => Promise<T | undefined>
}

/** The size of a base page on x86-64. */
const pageBytes = 4096
const transparentBytes = 2 ** 21

/** Reads the memory of a process; undefined when it has ended. */
export async function readProcessMemory(
  pid: number,
  options: ProcessMemoryOptions,
): Promise<ProcessMemory | undefined> {
  const status = await read(`/proc/${pid}/status`)
  if (status === undefined) return undefined
  const [ksm, stat, numa, swap] = await Promise.all([
    read(`/proc/${pid}/ksm_stat`),
    read(join(options.cgroup, 'memory.stat')),
    read(join(options.cgroup, 'memory.numa_stat')),
    read(join(options.cgroup, 'memory.swap.current')),
  ])
  const resident = kibibytes(status, 'VmRSS')
  const reserved = kibibytes(status, 'HugetlbPages')
  const walks = resident <= options.walkBytes
  const needsMaps = reserved > 0 || numa === undefined
  const walk = options.walk ?? ((work) => work())
  const walkThrough = (file: string) => walk(async () => (await read(`/proc/${pid}/${file}`)) ?? '')
  const numaMaps = walks && needsMaps ? await walkThrough('numa_maps') : undefined
  const maps = numaMaps === undefined ? undefined : parseNumaMaps(numaMaps)
  const needsRollup = walks && stat === undefined
  const rollup = needsRollup ? await walkThrough('smaps_rollup') : undefined
  const isSlow = (walks && needsMaps && maps === undefined) || (needsRollup && rollup === undefined)
  return {
    residentBytes: resident + reserved,
    // The process's own count leaves shared memory out, the cgroup's does not.
    swappedBytes: Math.max(kibibytes(status, 'VmSwap'), Number(swap ?? 0) || 0),
    zswappedBytes: stat === undefined ? undefined : countOf(stat, 'zswapped'),
    ksmBytes: parseMergedBytes(ksm ?? ''),
    huge: [...transparent(stat, rollup), ...(maps?.reserved ?? unsized(reserved))],
    nodes: maps?.nodes ?? (numa === undefined ? undefined : parseNumaStat(numa)),
    unwalked: !walks && needsMaps ? 'too-large' : isSlow ? 'too-slow' : undefined,
  }
}

/** Pages by node and reserved huge pages by size, from /proc/PID/numa_maps. */
export function parseNumaMaps(text: string): {
  readonly nodes: readonly { readonly node: number; readonly bytes: number }[]
  readonly reserved: readonly HugeMemory[]
} {
  const nodes = new Map<number, number>()
  const sizes = new Map<number, number>()
  for (const line of text.split('\n')) {
    const size = Number(/ kernelpagesize_kB=(\d{1,9})/.exec(line)?.[1] ?? 4) * 1024
    for (const [, node, pages] of line.matchAll(/ N(\d{1,4})=(\d{1,15})/g)) {
      const bytes = Number(pages) * size
      nodes.set(Number(node), (nodes.get(Number(node)) ?? 0) + bytes)
      if (/ huge /.test(`${line} `)) sizes.set(size, (sizes.get(size) ?? 0) + bytes)
    }
  }
  return {
    nodes: [...nodes].sort(([a], [b]) => a - b).map(([node, bytes]) => ({ node, bytes })),
    reserved: [...sizes]
      .sort(([a], [b]) => a - b)
      .map(([size, bytes]) => ({ kind: 'reserved', pageBytes: size, bytes })),
  }
}

/** Anonymous and shared memory by node, from a cgroup's memory.numa_stat. */
export function parseNumaStat(
  text: string,
): readonly { readonly node: number; readonly bytes: number }[] | undefined {
  const nodes = new Map<number, number>()
  for (const name of ['anon', 'shmem']) {
    const line = new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1] ?? ''
    for (const [, node, bytes] of line.matchAll(/N(\d{1,4})=(\d{1,15})/g))
      nodes.set(Number(node), (nodes.get(Number(node)) ?? 0) + Number(bytes))
  }
  return [...nodes].sort(([a], [b]) => a - b).map(([node, bytes]) => ({ node, bytes }))
}

function transparent(stat: string | undefined, rollup: string | undefined): readonly HugeMemory[] {
  const bytes =
    stat === undefined
      ? ['AnonHugePages', 'ShmemPmdMapped'].reduce((sum, name) => sum + kibibytes(rollup ?? '', name), 0)
      : ['anon_thp', 'shmem_thp'].reduce((sum, name) => sum + (countOf(stat, name) ?? 0), 0)
  return bytes === 0 ? [] : [{ kind: 'transparent', pageBytes: transparentBytes, bytes }]
}

/** Reserved huge pages of a process that was not walked: their size is not known, and 2 MiB is what they nearly always have. */
function unsized(bytes: number): readonly HugeMemory[] {
  return bytes === 0 ? [] : [{ kind: 'reserved', pageBytes: transparentBytes, bytes }]
}

/** What KSM has merged of a process, from its ksm_stat; undefined on kernels that do not say. */
export function parseMergedBytes(ksm: string): number | undefined {
  const pages = /^ksm_merging_pages:? (\d{1,15})$/m.exec(ksm)?.[1]
  return pages === undefined ? undefined : Number(pages) * pageBytes
}

function kibibytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d{1,15}) kB$`, 'm').exec(text)?.[1] ?? 0) * 1024
}

function countOf(text: string, name: string): number | undefined {
  const value = new RegExp(`^${name} (\\d{1,15})$`, 'm').exec(text)?.[1]
  return value === undefined ? undefined : Number(value)
}

async function read(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(() => undefined)
}
