/** What changing the number of a VM's vCPUs does: it depends on how many the emulator that runs was started with room for. */
import type { ChangeRule, SpecChange } from './change-rules.ts'

/**
 * QEMU under TCG goes on using the memory of a vCPU that was taken away, and dies of it when another one is plugged or the guest reboots
 * (seen with 7.2: the memory listener and the notifier of a vCPU are never removed).
 */
export const tcgKeepsVcpus =
  'QEMU under TCG does not survive it when a vCPU is taken away, so it is done only under KVM'

/** vCPUs are plugged and taken away up to the maximum that was said before the boot. */
export function vcpuCountRule({ to, booted, accelerator }: SpecChange): ChangeRule {
  if (booted === undefined) return { effect: 'boot', reason: 'vCPUs are plugged only into a guest that runs' }
  const { count, max } = booted.cpu
  if (max === undefined)
    return { effect: 'boot', reason: 'vCPUs are plugged only where cpu.max said before the boot how many' }
  if (to.cpu.count > max)
    return { effect: 'boot', reason: `it was booted with room for ${max} vCPU${max === 1 ? '' : 's'}` }
  if (to.cpu.count === count) return { effect: 'live', reason: 'it has as many' }
  if (to.cpu.count < count && accelerator === 'tcg') return { effect: 'boot', reason: tcgKeepsVcpus }
  return to.cpu.count > count
    ? { effect: 'live', reason: 'vCPUs are plugged while the guest runs' }
    : { effect: 'live', reason: 'the guest is asked to let go of vCPUs while it runs' }
}
