/** What a guest says about its NICs while they are taken away. */
import { deviceId } from '../../model/qemu/ids.ts'
import type { EmulatorEvent } from '../../ports/emulators.ts'
import { GuestAnswers } from './guest-answers.ts'

export class NicAnswers extends GuestAnswers {
  readonly #refused = new Set<string>()

  hasRefused(nic: string): boolean {
    return this.#refused.has(deviceId('nic', nic))
  }

  protected note(event: EmulatorEvent): boolean {
    if (event.kind !== 'nic') return false
    if (!event.answer.isGone) this.#refused.add(event.answer.device)
    return true
  }
}
