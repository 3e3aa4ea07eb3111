/** Which flags of a CPU matter to VMs, and what each is good for. Names as in /proc/cpuinfo, `flags` and `vmx flags`. */
import type { HostCpuFeature } from '@kvasir/contract'

type Table = Readonly<Record<string, string>>

const intel: Table = {
  vmx: 'VT-x, without which KVM cannot run',
  ept: 'two-level page tables; without them memory is emulated and slow',
  vpid: 'keeps translations over VM exits',
  unrestricted_guest: 'guests start in real mode without emulation',
  apicv: 'interrupts reach guests without VM exits',
  posted_intr: 'devices interrupt running guests without VM exits',
  ept_ad: 'accessed and dirty bits in the second level, for dirty tracking',
  ept_1gb: '1 GiB pages in the second level',
  pml: 'a log of dirty pages in hardware, for live migration',
  shadow_vmcs: 'faster nested virtualization',
  tsc_scaling: 'a clock of another rate, for live migration',
  preemption_timer: 'timers of guests without host timers',
}

const amd: Table = {
  svm: 'AMD-V, without which KVM cannot run',
  npt: 'two-level page tables; without them memory is emulated and slow',
  avic: 'interrupts reach guests without VM exits',
  x2avic: 'the same for guests with x2APIC',
  vgif: 'faster nested virtualization',
  v_vmsave_vmload: 'faster nested virtualization',
  nrip_save: 'faster VM exits',
  flushbyasid: 'keeps translations over VM exits',
  decodeassists: 'faster emulation of devices',
  pausefilter: 'a spinning vCPU gives its CPU away',
  tsc_scale: 'a clock of another rate, for live migration',
  sev: 'encrypted memory of guests',
}

const x86: Table = {
  pdpe1gb: '1 GiB huge pages',
  x2apic: 'more than 255 CPUs, and a cheaper interrupt controller',
  constant_tsc: 'a clock that does not follow the frequency of the CPU',
  nonstop_tsc: 'a clock that runs on in sleep states',
  tsc_deadline_timer: 'cheaper timers',
  invpcid: 'cheaper switches of address spaces',
  la57: '5-level page tables',
}

/** The flags that matter on a CPU of this vendor; none for other architectures, whose flags say nothing of virtualization. */
export function cpuFeatures(vendor: string, flags: readonly string[]): HostCpuFeature[] {
  const own = { GenuineIntel: intel, AuthenticAMD: amd, HygonGenuine: amd }[vendor]
  const table = own === undefined ? tableByFlags(flags) : { ...own, ...x86 }
  const present = new Set(flags)
  return Object.entries(table).map(([flag, means]) => ({ flag, present: present.has(flag), means }))
}

function tableByFlags(flags: readonly string[]): Table {
  if (flags.includes('vmx')) return { ...intel, ...x86 }
  return flags.includes('lm') ? x86 : {}
}

/** The levels of the x86-64 psABI, each with what it adds; Linux writes lzcnt as abm and sse3 as pni. */
const levels = [
  ['x86-64-v1', ['lm', 'cmov', 'cx8', 'fpu', 'fxsr', 'mmx', 'syscall', 'sse2']],
  ['x86-64-v2', ['cx16', 'lahf_lm', 'popcnt', 'pni', 'sse4_1', 'sse4_2', 'ssse3']],
  ['x86-64-v3', ['avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe', 'xsave']],
  ['x86-64-v4', ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl']],
] as const

/** The highest level whose flags, and those of all below it, are there. */
export function cpuBaseline(flags: readonly string[]): string | undefined {
  const present = new Set(flags)
  const missing = levels.findIndex(([, needed]) => needed.some((flag) => !present.has(flag)))
  return levels[(missing < 0 ? levels.length : missing) - 1]?.[0]
}
