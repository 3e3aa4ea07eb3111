/**
 * The NICs of a running emulator: plugged and taken away while the guest runs, and their cables.
 *
 * Plugging is QEMU's own doing; whether the guest lets go of a NIC is the guest's. All of it can be done again after it was interrupted
 * anywhere.
 */
import type { NicSpec } from '@kvasir/contract'
import type { NicPlan } from '../model/qemu/nic.ts'

/** What happened to a NIC's device. */
export interface NicAnswer {
  /** The id of the device that it is about: `nic-net0`. */
  readonly device: string
  /** It is gone; else the guest refused to let go of it. */
  readonly isGone: boolean
}

/** A NIC with the link of the host that is its cable. */
export interface TappedNic {
  readonly nic: string
  readonly tap: string
  readonly isMacvtap: boolean
}

export interface EmulatorNics {
  /** Makes the tap and the NIC, unless the NIC is there. On failure it takes back what it made. `host-failed` when there is no tap. */
  plug(plan: NicPlan): Promise<void>
  /** Those of the NICs that the guest has, or may have. */
  present(nics: readonly string[]): Promise<readonly string[]>
  /** Asks the guest to let go of a NIC, and returns at once; safe to repeat. */
  askFor(nic: string): Promise<void>
  /** Removes what is left of a NIC that the guest has let go of, and its tap with that; safe to repeat. */
  remove(nic: string): Promise<void>
  /** Those of these NICs whose tap, or macvtap, somebody has taken from the host. */
  withoutTap(nics: readonly TappedNic[]): Promise<readonly string[]>
  /** Ends the back end of a NIC that the guest keeps: to it, the cable is out. Safe to repeat. */
  cutOff(nic: string): Promise<void>
  /** Puts the cables of NICs in or takes them out, as their guest sees it; those that it has not are left out. */
  setLinks(links: ReadonlyMap<string, NicSpec['link']>): Promise<void>
}
