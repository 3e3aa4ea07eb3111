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

/**
 * The frequency of the time stamp counter in kHz, from /proc/cpuinfo of a host without cpufreq: there Linux shows as `cpu MHz` what it
 * counts the counter with, unless the CPU tells its momentary frequency (`aperfmperf`). Most virtual machines are such hosts.
 */
export function parseTscKhz(text: string): number | undefined {
  const { flags } = parseCpuInfo(text)
  const mhz = /^cpu MHz\s*:\s*(\d+)\.(\d{3})$/m.exec(text)
  if (mhz === null || !flags.includes('constant_tsc') || flags.includes('aperfmperf')) return undefined
  return Number(`${mhz[1]}${mhz[2]}`) || undefined
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
