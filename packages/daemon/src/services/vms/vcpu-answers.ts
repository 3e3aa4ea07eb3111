/** What a guest says about its vCPUs while they are changed: which it has taken, which it refuses to let go of. */
import type { EmulatorEvent } from '../../ports/emulators.ts'
import { GuestAnswers } from './guest-answers.ts'

export class VcpuAnswers extends GuestAnswers {
  readonly #taken = new Set<number>()
  readonly #refused = new Set<number>()

  /** How many of the vCPUs from one number up to another the guest has taken. */
  taken(from: number, to: number): number {
    return [...this.#taken].filter((index) => index >= from && index < to).length
  }

  hasRefused(index: number): boolean {
    return this.#refused.has(index)
  }

  protected note(event: EmulatorEvent): boolean {
    if (event.kind !== 'vcpus') return false
    if (event.answer) {
      const { index, about, isDone, isRefused } = event.answer
      if (about === 'plug' && isDone) this.#taken.add(index)
      if (about === 'unplug' && isRefused) this.#refused.add(index)
    }
    return true
  }
}
