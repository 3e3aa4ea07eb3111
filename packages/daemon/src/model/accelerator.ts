/**
 * Which accelerator a VM runs under, and why: decided from facts about the host.
 *
 * A host can have /dev/kvm that opens and yet runs no stock guest (a software backend without vmx or svm). So KVM counts as usable
 * only with all three: the CPU's flag, a device that opens, and a probe emulator that answers that KVM is present and enabled.
 *
 * Not here: looking (host/qemu).
 */
import { type AcceleratorChoice, KvasirError, type VmSpec } from '@kvasir/contract'

/** What was found out about KVM on this host. */
export interface AcceleratorFacts {
  /** The flags of the first CPU in /proc/cpuinfo. */
  readonly cpuFlags: readonly string[]
  /** Whether /dev/kvm opens for the user that emulators run as. */
  readonly kvmDevice: 'usable' | 'missing' | 'denied'
  /** What a probe emulator answered to `query-kvm`. */
  readonly probe: { readonly present: boolean; readonly enabled: boolean } | 'failed' | 'not-run'
}

/**
 * The accelerator for a VM and the reason, as the clause that follows `because`. Refuses with `accelerator-unavailable` when the
 * spec requires KVM and it cannot be had.
 */
export function decideAccelerator(wanted: VmSpec['accelerator'], facts: AcceleratorFacts): AcceleratorChoice {
  if (wanted === 'tcg') return { kind: 'tcg', reason: 'the spec asks for TCG' }
  const obstacle = kvmObstacle(facts)
  if (obstacle === undefined) {
    return { kind: 'kvm', reason: `the CPU has ${virtualization(facts)} and KVM answered` }
  }
  if (wanted === 'auto') return { kind: 'tcg', reason: obstacle }
  throw new KvasirError(
    'accelerator-unavailable',
    `The VM requires KVM, but ${obstacle}, so it cannot start here.`,
    { details: { reason: obstacle } },
  )
}

/** Whether a probe emulator is worth starting: without flag or device its answer would change nothing. */
export function isProbeNeeded(facts: Omit<AcceleratorFacts, 'probe'>): boolean {
  return virtualization(facts) !== 'none' && facts.kvmDevice === 'usable'
}

/** Which virtualization extension the CPU has. */
export function virtualization(facts: Pick<AcceleratorFacts, 'cpuFlags'>): 'vmx' | 'svm' | 'none' {
  if (facts.cpuFlags.includes('vmx')) return 'vmx'
  return facts.cpuFlags.includes('svm') ? 'svm' : 'none'
}

function kvmObstacle(facts: AcceleratorFacts): string | undefined {
  const { kvmDevice, probe } = facts
  if (virtualization(facts) === 'none') {
    return kvmDevice === 'missing'
      ? 'the CPU shows neither vmx nor svm and there is no /dev/kvm'
      : 'the CPU shows neither vmx nor svm, and without them /dev/kvm does not run a stock guest'
  }
  if (kvmDevice === 'missing') return 'there is no /dev/kvm'
  if (kvmDevice === 'denied') return '/dev/kvm does not open for the emulator'
  if (probe === 'not-run') return 'no probe emulator could be started'
  if (probe === 'failed') return 'a probe emulator with KVM did not answer'
  if (!probe.present) return 'this QEMU was built without KVM'
  return probe.enabled ? undefined : 'a probe emulator answered that KVM is not enabled'
}
