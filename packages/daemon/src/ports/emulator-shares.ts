/**
 * The shares of a running emulator: folders of the host that come and go while the guest runs, each with the process that serves it.
 *
 * Plugging is QEMU's own doing; whether the guest lets go of a share is the guest's. All of it can be done again after it was interrupted
 * anywhere.
 */
import type { PluggedShare } from '../model/qemu/shares.ts'

/** What happened to a share's device. */
export interface ShareAnswer {
  /** The id of the device that it is about: `fs-www`. */
  readonly device: string
  /** It is gone; else the guest refused to let go of it. */
  readonly isGone: boolean
}

export interface EmulatorShares {
  /** Starts what serves the folder and plugs the share, unless it is there. On failure it takes back what it made. */
  plug(plan: PluggedShare): Promise<void>
  /** Those of the shares that the guest has, or may have. */
  present(names: readonly string[]): Promise<readonly string[]>
  /** Asks the guest to let go of a share, and returns at once; safe to repeat. */
  askFor(name: string): Promise<void>
  /** Removes what is left of a share that the guest has let go of, and what served it ends with that; safe to repeat. */
  remove(name: string): Promise<void>
}
