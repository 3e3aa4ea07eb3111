/**
 * The balloon, with free page reporting: pages that the guest frees go back to the host by themselves. Not where the host was asked to
 * hold all of the memory (huge pages, preallocated, locked): what went back there could be missing later.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { isHeld } from '../memory/backing.ts'
import type { HardwareInput } from './hardware.ts'
import type { PciBus } from './pci-bus.ts'

/** The id of the balloon device. */
export const balloonId = 'balloon'

/** The balloon; a guest that runs out of memory takes back what it gave. */
export function balloonDevice({ memory }: Pick<VmSpec, 'memory'>, bus: PciBus) {
  return {
    driver: 'virtio-balloon-pci',
    id: balloonId,
    ...bus.place(balloonId),
    'disable-legacy': 'on',
    'deflate-on-oom': true,
    'free-page-reporting': !isHeld(memory),
  }
}

/** Refuses a target where there is no balloon to take memory. */
export function requireBalloon({ name, spec }: Pick<HardwareInput, 'name' | 'spec'>): void {
  if (spec.devices.balloon || spec.memory.target === undefined) return
  throw new KvasirError(
    'bad-request',
    `VM ${name} has a target for its balloon and no balloon, so it cannot start; set devices.balloon, or remove memory.target.`,
    { details: { field: 'memory.target' } },
  )
}
