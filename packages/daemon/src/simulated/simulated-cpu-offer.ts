/** The CPUs that a simulated QEMU offers: those of a host without AVX-512. */
import type { CpuOffer } from '../model/cpu/cpu-offer.ts'

const present =
  'abm aes avx avx2 bmi1 bmi2 cx16 f16c fma lahf-lm movbe pcid pni popcnt sse3 sse4.1 sse4.2 ssse3 svm xsave'
const lacking = 'avx512bw avx512cd avx512dq avx512f avx512vl la57 vmx hv-relaxed pmu realized'

/** What is offered under an accelerator; nested virtualization is on. */
export function simulatedCpuOffer(
  accelerator: CpuOffer['accelerator'],
  lost: readonly string[] = [],
): CpuOffer {
  const flags = (names: string, isThere: boolean) => names.split(' ').map((name) => [name, isThere] as const)
  return {
    accelerator,
    models: {
      host: accelerator === 'kvm' ? [] : ['kvm'],
      max: [],
      'qemu64-v1': [...lost],
      'Nehalem-v1': [...lost],
      'EPYC-v4': [...lost],
      'Skylake-Server-v4': ['avx512bw', 'avx512cd', 'avx512dq', 'avx512f', 'avx512vl'],
    },
    flags: Object.fromEntries([
      ...flags(present, true),
      ...flags(lacking, false),
      ...lost.map((flag) => [flag, false] as const),
    ]),
    extension: 'svm',
    nested: accelerator === 'kvm' ? { module: 'kvm_amd', isOn: true } : undefined,
  }
}
