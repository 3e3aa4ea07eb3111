/**
 * The small devices of a running emulator, each by its name in `spec.devices`: the entropy device, the watchdog, the pointer, the keyboard.
 *
 * Plugging is QEMU's own doing; whether the guest lets go of one on PCI is the guest's. All of it can be done again after it was interrupted
 * anywhere.
 */
import type { SmallDevicePlan } from '../model/qemu/small-devices.ts'

/** What happened to a device. */
export interface DeviceAnswer {
  /** The name, which is the id of it. */
  readonly device: string
  /** It is gone; else the guest refused to let go of it. */
  readonly isGone: boolean
}

export interface EmulatorDevices {
  /** Plugs a device, unless it is there. On failure it takes back what it made. */
  plug(plan: SmallDevicePlan): Promise<void>
  /** Those of the devices that the guest has, or may have. */
  present(names: readonly string[]): Promise<readonly string[]>
  /** Asks the guest to let go of a device, and returns at once; safe to repeat. */
  askFor(name: string): Promise<void>
  /** Removes what is left of a device that the guest has let go of; safe to repeat. */
  remove(name: string): Promise<void>
}
