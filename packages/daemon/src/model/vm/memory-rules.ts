/** What changing the size of a VM's memory, the target of its balloon and KSM does: it depends on what the emulator was started with. */
import { formatBytes, plugBlockBytes } from '@kvasir/contract'
import { canMerge } from '../memory/backing.ts'
import { bootMemoryBytes } from '../memory/plug-memory.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'
import { smallDeviceRule } from './device-rules.ts'

/** Memory is plugged above what the guest booted with, up to the maximum that it booted with. */
export function memorySizeRule({ to, plugMemory }: SpecChange): ChangeRule {
  if (plugMemory === undefined)
    return {
      effect: 'boot',
      reason: 'memory is plugged only where memory.max said before the boot how far',
    }
  const { bootBytes, regionBytes } = plugMemory
  const wanted = to.memory.size - bootBytes
  if (wanted < 0)
    return {
      effect: 'boot',
      reason: `the ${formatBytes(bootBytes)} that it booted with are not unplugged; memory.target takes memory by the balloon`,
    }
  if (wanted > regionBytes)
    return {
      effect: 'boot',
      reason: `it was booted with room for ${formatBytes(bootBytes + regionBytes)}`,
    }
  if (wanted % plugBlockBytes !== 0)
    return {
      effect: 'boot',
      reason: `memory is plugged in steps of ${formatBytes(plugBlockBytes)} above the ${formatBytes(bootBytes)} that it booted with`,
    }
  return { effect: 'live', reason: 'virtio-mem plugs and unplugs it, as far as the guest lets it' }
}

/** Whether KSM may merge memory is said of a mapping at any time; but it merges none that is shared, or in reserved huge pages. */
export function ksmRule({ booted }: SpecChange): ChangeRule {
  if (booted !== undefined && !canMerge(booted.memory))
    return { effect: 'start', reason: 'the memory that it runs with is none that KSM merges' }
  return { effect: 'live', reason: 'the kernel is told of its memory while it runs' }
}

/** The balloon takes from the memory of the boot alone. */
export function balloonRule(change: SpecChange): ChangeRule {
  const { from, to, booted = from, plugMemory, bootBytes } = change
  const comes = smallDeviceRule(change, 'devices.balloon').effect === 'live'
  if (!booted.devices.balloon && !comes) return { effect: 'boot', reason: 'it runs without a balloon' }
  const boot = bootBytes ?? bootMemoryBytes(from, plugMemory)
  const has = plugMemory ? to.memory.size : boot
  const taken = has - (to.memory.target ?? has)
  if (taken > boot - plugBlockBytes)
    return {
      effect: 'boot',
      reason: `the balloon takes only from the ${formatBytes(boot)} that it booted with`,
    }
  return { effect: 'live', reason: 'the balloon gives and takes it while the guest runs' }
}
