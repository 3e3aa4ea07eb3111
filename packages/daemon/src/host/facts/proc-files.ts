/** What /proc says of the host's CPUs and memory, parsed. Formats: proc(5). */

export interface CpuFacts {
  readonly model: string
  /** CPUs that are online. */
  readonly count: number
  /** The flags of the first CPU; empty where the kernel names them otherwise (ARM). */
  readonly flags: readonly string[]
}

/** Parses /proc/cpuinfo. */
export function parseCpuInfo(text: string): CpuFacts {
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(text)?.[1]?.trim()
  return {
    model: field('model name') ?? field('CPU part') ?? 'unknown',
    count: text.match(/^processor\s*:/gm)?.length ?? 1,
    flags: (field('flags') ?? '').split(/\s+/).filter(Boolean),
  }
}

export interface MemoryFacts {
  readonly totalBytes: number
  readonly availableBytes: number
}

/** Parses /proc/meminfo, whose `kB` are KiB. */
export function parseMemInfo(text: string): MemoryFacts {
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? '0') * 1024
  return { totalBytes: bytes('MemTotal'), availableBytes: bytes('MemAvailable') }
}
