/**
 * The disks of a running emulator: plugged and taken away while the guest runs.
 *
 * Plugging is QEMU's own doing; whether the guest lets go of a disk is the guest's. Both can be done again after they were interrupted
 * anywhere: what is there already is left as it is.
 */
import type { DiskThrottle } from '@kvasir/contract'
import type { DiskPlan } from '../model/qemu/disk-plan.ts'

/** What happened to a disk's device. */
export interface DiskAnswer {
  /** The ids of the device that it is about: `disk-data`, or the controller that the disk has for itself. */
  readonly device: string
  /** It is gone; else the guest refused to let go of it. */
  readonly isGone: boolean
}

/** What goes along with another medium. */
export interface MediumChange {
  /** The files of the one that goes. */
  readonly gone: readonly string[]
  /** Called when the drive is empty. */
  readonly onEmpty: () => Promise<void>
}

export interface EmulatorDisks {
  /** Makes what is missing of a disk. On failure it takes back what it made. `host-failed` when a file cannot be opened. */
  plug(plan: DiskPlan): Promise<void>
  /** Those of the disks that the guest has, or may have. */
  present(disks: readonly string[]): Promise<readonly string[]>
  /** Asks the guest to let go of a disk, and returns at once; safe to repeat. */
  askFor(disk: string): Promise<void>
  /** Gives disks their limits, and takes the limits of others away. Costs one question where nothing is to be changed. */
  throttle(limits: ReadonlyMap<string, DiskThrottle | undefined>): Promise<void>
  /**
   * Opens the tray of a CD-ROM drive. `guest-refused` when the guest has locked it and does not open it when asked; by force it opens
   * all the same.
   */
  openTray(disk: string, options: { readonly force: boolean }): Promise<void>
  /**
   * Puts the medium of a plan, or none, into the drive of a guest, in the place of what it holds: `guest-refused` as with `openTray`.
   * A drive that holds it already is left as it is, so it is safe to repeat.
   */
  changeMedium(plan: DiskPlan, change: MediumChange): Promise<void>
  /** Removes what is left of a disk that the guest has let go of; safe to repeat. */
  remove(disk: string): Promise<void>
}
