/**
 * The CPU model of a start: which model of QEMU, and every flag that is switched on or off in it.
 *
 * Later words outrank earlier ones: the model's own, then nested virtualization, then the flags of the spec. Whether the host has what
 * is asked for is in judge-cpu.ts.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { baselineOf } from './baselines.ts'

/** The extension that nested virtualization shows to a guest. */
export type Extension = 'vmx' | 'svm'

export interface CpuModel {
  readonly model: string
  /** Flags on and off, in the order in which QEMU is given them. */
  readonly flags: Readonly<Record<string, boolean>>
}

/** What decides the model of a start. */
export interface ModelChoice {
  readonly name: string
  readonly cpu: VmSpec['cpu']
  readonly accelerator: 'kvm' | 'tcg'
  /** The extension of the host's CPU; TCG has svm. */
  readonly extension?: Extension | undefined
}

/**
 * The model and flags of a start. Refuses `host` under TCG with `accelerator-unavailable`, and flags at odds with `cpu.nested` with
 * `bad-request`.
 */
export function decideModel(choice: ModelChoice): CpuModel {
  const asked = Object.entries(choice.cpu.features).sort(([a], [b]) => (a < b ? -1 : 1))
  const baseline = baselineOf(choice.cpu.model)
  const model = baseline?.base ?? qemuModel(choice)
  return {
    model,
    flags: {
      // TCG's max has 5-level paging, with which the monitor's `info mem` hangs for half a minute (QEMU 7.2).
      ...(model === 'max' ? { la57: false } : {}),
      ...baseline?.flags,
      ...nestedFlags(choice),
      ...Object.fromEntries(asked),
      ...(baseline ? { enforce: true } : {}),
    },
  }
}

/** What `auto` stands for under an accelerator, and every other model as it is written. */
function qemuModel({ cpu, accelerator }: ModelChoice): string {
  if (cpu.model === 'auto') return accelerator === 'kvm' ? 'host' : 'max'
  if (cpu.model === 'host' && accelerator !== 'kvm') {
    throw new KvasirError(
      'accelerator-unavailable',
      'The CPU model host needs KVM, but the VM would run under TCG, so it cannot start.',
    )
  }
  return cpu.model
}

function nestedFlags(choice: ModelChoice): Readonly<Record<string, boolean>> {
  const { nested, features } = choice.cpu
  if (nested === 'auto') return {}
  for (const flag of ['vmx', 'svm']) {
    if (features[flag] === undefined || features[flag] === nested) continue
    throw new KvasirError(
      'bad-request',
      `VM ${choice.name} has cpu.nested ${nested} and the CPU flag ${flag} ${features[flag] ? 'on' : 'off'}, so it is not clear what it shall be; take one of them back.`,
      { details: { field: `cpu.features.${flag}` } },
    )
  }
  return nested ? { [choice.extension ?? 'svm']: true } : { vmx: false, svm: false }
}
