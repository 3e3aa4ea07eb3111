/**
 * What a QEMU can offer a guest as CPU under one accelerator on this host: its models with what the host lacks for each, and every flag
 * it knows.
 *
 * Names of flags have several spellings in QEMU (sse4.1, sse4_1, sse4-1); `flags` has them all.
 */
import type { Extension } from './cpu-model.ts'

export interface CpuOffer {
  readonly accelerator: 'kvm' | 'tcg'
  /** By model: the flags that the host lacks for it (QEMU: unavailable-features of query-cpu-definitions). */
  readonly models: Readonly<Record<string, readonly string[]>>
  /** Every switch of a CPU by name: whether the host can show it to a guest. */
  readonly flags: Readonly<Record<string, boolean>>
  /** The extension of the host's CPU. */
  readonly extension: Extension
  /** What the module of KVM says of nested virtualization; undefined where it says nothing, and under TCG. */
  readonly nested: { readonly module: string; readonly isOn: boolean } | undefined
}

/** Switches that are no part of what the hardware can, so that the host cannot lack them. */
const switches: ReadonlySet<string> = new Set([
  'check',
  'enforce',
  'fill-mtrr-mask',
  'full-cpuid-auto-level',
  'cpuid-0xb',
  'host-cache-info',
  'host-phys-bits',
  'kvm',
  'kvm-no-smi-migration',
  'l3-cache',
  'legacy-cache',
  'migratable',
  'pmu',
  'tcg-cpuid',
  'vmware-cpuid-freq',
])

/** What is true of every QOM device and no business of a spec. */
const notSwitches: ReadonlySet<string> = new Set([
  'realized',
  'start-powered-off',
  'hotplugged',
  'hotpluggable',
])

/** Other names of the same flag, once `_` and `.` are written as `-`. */
const otherNames: Readonly<Record<string, string>> = {
  sse3: 'pni',
  xd: 'nx',
  i64: 'lm',
  ffxsr: 'fxsr-opt',
  pclmuldq: 'pclmulqdq',
}

/** One spelling for all the names of a flag. */
export function canonicalFlag(name: string): string {
  const dashed = name.replace(/[_.]/g, '-')
  return otherNames[dashed] ?? dashed
}

/** Whether a switch exists that a spec may set. */
export function isKnownFlag(name: string, offer: CpuOffer): boolean {
  return Object.hasOwn(offer.flags, name) && !notSwitches.has(name)
}

/** Whether the host lacks a flag. A switch of QEMU itself (l3-cache, the Hyper-V enlightenments) it cannot lack. */
export function isLacking(name: string, offer: CpuOffer): boolean {
  if (switches.has(name) || /^(hv-|x-)/.test(name)) return false
  return offer.flags[name] === false
}
