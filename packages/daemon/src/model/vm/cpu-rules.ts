/** What changing a VM's vCPUs and their pins does: how many there can be depends on what its emulator was started with room for. */
import { ownThread } from '../qemu/own-thread.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'

/** How the host's CPUs are shared counts at once. */
export const scheduled = {
  effect: 'live',
  reason: 'the host schedules the threads, and the guest sees none of it',
} as const

/**
 * QEMU under TCG goes on using the memory of a vCPU that was taken away, and dies of it when another one is plugged or the guest reboots
 * (seen with 7.2: the memory listener and the notifier of a vCPU are never removed).
 */
export const tcgKeepsVcpus =
  'QEMU under TCG does not survive it when a vCPU is taken away, so it is done only under KVM'

/** Pins count at once, those of threads that there are; and those of I/O threads go with their disks. */
export function pinRule({ from, to, booted, accelerator }: SpecChange): ChangeRule {
  const served = booted?.disks.filter(({ name }) => to.cpu.pin?.ioThreads[name] !== undefined) ?? []
  const threadless = served.filter(
    (disk) => booted && accelerator && ownThread(disk, { spec: booted, accelerator }) === undefined,
  )
  if (threadless.length > 0)
    return {
      effect: 'boot',
      reason: `${threadless.map(({ name }) => `disk ${name}`).join(', ')} was booted without an I/O thread, since TCG gains nothing by one`,
    }
  const pinned = Object.keys(from.cpu.pin?.ioThreads ?? {})
  const gone = pinned.filter(
    (name) => to.cpu.pin?.ioThreads[name] === undefined && !to.disks.some((disk) => disk.name === name),
  )
  if (gone.length === 0) return scheduled
  const [whose, goes] = gone.length === 1 ? ['disk', 'goes'] : ['disks', 'go']
  return {
    effect: 'live',
    reason: `the pin of an I/O thread goes with its disk, and ${whose} ${gone.join(', ')} ${goes}`,
  }
}

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
