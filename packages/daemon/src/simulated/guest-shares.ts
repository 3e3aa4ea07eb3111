/** The shares of a simulated QEMU process, and a guest that lets go of them or does not, as a test wants. */
import type { EmulatorPlan, SharePlan } from '../model/qemu/emulator-plan.ts'
import { shareId } from '../model/qemu/shares.ts'
import type { EmulatorEvent } from '../ports/emulators.ts'

interface Guest {
  readonly later: (work: () => void) => void
  readonly tell: (event: EmulatorEvent) => void
}

export class GuestShares {
  /** What the guest has, by name. */
  readonly plugged: Map<string, SharePlan>
  /** The names of those that a process serves. */
  readonly served: Set<string>
  /** Whether the guest lets go: at once when asked, never, or with a refusal. */
  release: 'willing' | 'silent' | 'refusing' = 'willing'
  readonly #guest: Guest

  constructor({ shares = [] }: Pick<EmulatorPlan, 'shares'>, guest: Guest) {
    this.plugged = new Map(shares.map((share) => [share.share, share]))
    this.served = new Set(this.plugged.keys())
    this.#guest = guest
  }

  askFor(name: string): void {
    if (this.release !== 'silent') this.#guest.later(() => this.answer(name))
  }

  /** The guest lets go of a share, or refuses to: asked, or by itself. */
  answer(name: string): void {
    if (!this.plugged.has(name)) return
    const isGone = this.release !== 'refusing'
    if (isGone) this.plugged.delete(name)
    this.#guest.tell({ kind: 'share', answer: { device: shareId(name), isGone } })
  }
}
