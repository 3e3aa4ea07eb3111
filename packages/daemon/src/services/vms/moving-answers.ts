/** What a guest says about devices of one kind while they are taken away. */
import type { Emulator, EmulatorEvent } from '../../ports/emulators.ts'
import { GuestAnswers } from './guest-answers.ts'
import { answerIn, type MovingKind } from './moving-kind.ts'

export class MovingAnswers extends GuestAnswers {
  readonly #kind: MovingKind
  readonly #refused = new Set<string>()

  constructor(emulator: Emulator, kind: MovingKind) {
    super(emulator)
    this.#kind = kind
  }

  hasRefused(name: string): boolean {
    return this.#refused.has(this.#kind.idOf(name))
  }

  protected note(event: EmulatorEvent): boolean {
    const answer = answerIn(this.#kind, event)
    if (answer && !answer.isGone) this.#refused.add(answer.device)
    return answer !== undefined
  }
}
