/** What a change of channels does: ports come to the controller of a guest that runs, and go from it, and no guest is asked. */
import type { VmSpec } from '@kvasir/contract'
import { hasSerialBus } from '../pci/layout.ts'
import type { ChangeRule, SpecChange } from './change-rules.ts'

const boot = (reason: string): ChangeRule => ({ effect: 'boot', reason })

/** The rule for the channels of a VM. The controller stays for as long as its emulator does. */
export function channelsRule({ to, booted }: SpecChange): ChangeRule {
  if (booted === undefined) return boot('channels are plugged only into a guest that runs')
  if (!hasSerialBus(booted))
    return boot('it was started without the controller that channels are on, which the next boot brings')
  if (!hasSerialBus(to))
    return boot('the controller that channels are on goes with the last of them, which takes a boot')
  return { effect: 'live', reason: 'channels are ports that come and go while the guest runs' }
}

/** Channels that a run has and the spec has not, then those that come, which may need the ports of the first. */
export function movedChannels(
  booted: Pick<VmSpec, 'devices'>,
  spec: Pick<VmSpec, 'devices'>,
): readonly string[] {
  const [before, after] = [new Set(channelsOfSpec(booted)), new Set(channelsOfSpec(spec))]
  return [...[...before.difference(after)].sort(), ...[...after.difference(before)].sort()]
}

/** The names of a spec's channels. */
export function channelsOfSpec({ devices }: Pick<VmSpec, 'devices'>): readonly string[] {
  return devices.channels ?? []
}
