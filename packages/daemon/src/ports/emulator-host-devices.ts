/**
 * The devices of the host that a running emulator has: handed over and taken back while the guest runs.
 *
 * Handing over is the host's and QEMU's own doing; whether the guest lets go of a device is the guest's. All of it can be done again after
 * it was interrupted anywhere.
 */
import type { HostDevicePlan } from '../model/qemu/host-devices.ts'

/** What happened to the device in the guest. */
export interface HostDeviceAnswer {
  /** The id of the device that it is about: `host-disk`. */
  readonly device: string
  /** It is gone; else the guest refused to let go of it. */
  readonly isGone: boolean
}

export interface EmulatorHostDevices {
  /**
   * Takes a device from its driver and gives it to the guest, unless the guest has it; one that is a NIC is present and let go of among the
   * NICs, and given back here. On failure the driver has it back. `in-use` when
   * another VM has it, `unsupported` for an emulator that was started without a place for one.
   */
  plug(plan: HostDevicePlan): Promise<void>
  /** Those of the devices, by their names in the spec, that the guest has, or may have. */
  present(names: readonly string[]): Promise<readonly string[]>
  /** Asks the guest to let go of a device, and returns at once; safe to repeat. */
  askFor(name: string): Promise<void>
  /** Gives what the guest has let go of back to the driver that had it; safe to repeat. */
  remove(device: { readonly name: string; readonly address: string }): Promise<void>
}
