/** What a guest says about its disks while they are taken away. */
import { deviceId } from '../../model/qemu/ids.ts'
import type { EmulatorEvent } from '../../ports/emulators.ts'
import { GuestAnswers } from './guest-answers.ts'

export class DiskAnswers extends GuestAnswers {
  readonly #refused = new Set<string>()

  hasRefused(disk: string): boolean {
    return devicesOfDisk(disk).some((id) => this.#refused.has(id))
  }

  protected note(event: EmulatorEvent): boolean {
    if (event.kind !== 'disk') return false
    if (!event.answer.isGone) this.#refused.add(event.answer.device)
    return true
  }
}

/** The ids that a disk's device and its controller have. */
export function devicesOfDisk(disk: string): readonly string[] {
  return [deviceId('disk', disk), deviceId('scsi', disk)]
}
