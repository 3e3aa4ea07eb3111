/**
 * The baselines x86-64-v2, v3 and v4: CPUs that have what a level of the x86-64 ABI promises, and nothing more, on every host that can
 * run them.
 *
 * QEMU has no such models. Each is the oldest 64-bit model of QEMU, by its version, with every flag of the level said explicitly, so
 * that what the guest sees is the same under every QEMU and on every host; a flag that the host lacks ends QEMU (`enforce`).
 * Levels: the x86-64 psABI, table 3.1. Names of flags: QEMU's (lzcnt is abm, SSE3 is pni).
 */

/** A model of QEMU with the flags that are switched on and off in it. */
export interface Baseline {
  readonly base: string
  readonly flags: Readonly<Record<string, boolean>>
}

const level2 = ['cx16', 'lahf-lm', 'pni', 'popcnt', 'sse4.1', 'sse4.2', 'ssse3']
const level3 = [...level2, 'abm', 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'movbe', 'xsave']
const level4 = [...level3, 'avx512bw', 'avx512cd', 'avx512dq', 'avx512f', 'avx512vl']

function baseline(flags: readonly string[]): Baseline {
  // The model has svm, which is no part of any level; cpu.nested switches it on.
  return {
    base: 'qemu64-v1',
    flags: { svm: false, ...Object.fromEntries(flags.map((flag) => [flag, true])) },
  }
}

const baselines: ReadonlyMap<string, Baseline> = new Map([
  ['x86-64-v2', baseline(level2)],
  ['x86-64-v3', baseline(level3)],
  ['x86-64-v4', baseline(level4)],
])

/** The names of the baselines, lowest first. */
export const baselineNames: readonly string[] = [...baselines.keys()]

/** What a baseline is made of; undefined for other models. */
export function baselineOf(model: string): Baseline | undefined {
  return baselines.get(model)
}
