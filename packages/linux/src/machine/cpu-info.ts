/** /proc/cpuinfo, parsed: one block a CPU on x86 and ARM. Format: proc(5). */
import { maxCpus } from './cpu-list.ts'
import { type HostTree, parseInteger } from './host-tree.ts'

const maxCpuInfoBytes = 32 * 1024 * 1024

/** What /proc/cpuinfo says. */
export interface CpuInfo {
  readonly vendor?: string
  readonly model?: string
  /** `flags` and `vmx flags` of the first CPU; `Features` on ARM. */
  readonly flags: readonly string[]
  /** What kind of core each online CPU is, for those that say it: implementer and part on ARM. */
  readonly parts: ReadonlyMap<number, string>
}

/** Reads /proc/cpuinfo of a tree. */
export function readCpuInfo(tree: HostTree): CpuInfo {
  return parseCpuInfoBlocks(tree.readText('/proc/cpuinfo', maxCpuInfoBytes) ?? '')
}

/** Parses the blocks of /proc/cpuinfo. */
function parseCpuInfoBlocks(text: string): CpuInfo {
  const field = (block: string, name: string) =>
    new RegExp(`^${name}[ \\t]*:[ \\t]*(.*)$`, 'mi').exec(block)?.[1]?.trim()
  const words = (name: string) => (field(text, name) ?? '').split(/\s+/).filter(Boolean)
  const parts = new Map<number, string>()
  for (const block of text.split(/\n\s*\n/).slice(0, maxCpus)) {
    const cpu = parseInteger(field(block, 'processor'))
    const [implementer, part] = [field(block, 'CPU implementer'), field(block, 'CPU part')]
    if (cpu !== undefined && part !== undefined) parts.set(cpu, `${implementer ?? ''}/${part}`)
  }
  const vendor = field(text, 'vendor_id') ?? field(text, 'CPU implementer')
  const model = field(text, 'model name') ?? field(text, 'CPU part') ?? field(text, 'cpu')
  const flags = [...words('flags'), ...words('vmx flags'), ...words('Features')]
  return {
    ...(vendor === undefined ? {} : { vendor }),
    ...(model === undefined ? {} : { model }),
    flags: [...new Set(flags)],
    parts,
  }
}

/** The architecture: as the kernel says since 6.1, else as /proc/cpuinfo looks. */
export function readArchitecture(tree: HostTree, info: CpuInfo): string {
  const said = tree.readText('/proc/sys/kernel/arch')
  if (said !== undefined && /^\w{1,32}$/.test(said)) return said
  if (info.parts.size > 0) return 'aarch64'
  return info.flags.includes('lm') ? 'x86_64' : 'unknown'
}
