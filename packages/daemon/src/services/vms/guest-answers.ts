/** What a guest says while something of it is changed, and a wait for it to say something. */
import type { Emulator, EmulatorEvent } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'

/** Listens to an emulator until it is disposed; who extends it says which events are answers. */
export abstract class GuestAnswers implements Disposable {
  readonly #stop: () => void
  #wake: () => void = () => {}

  constructor(emulator: Emulator) {
    this.#stop = emulator.onEvent((event) => {
      if (this.note(event)) this.#wake()
    })
  }

  /** Remembers what an event says. Answers whether it is about what is being changed. */
  protected abstract note(event: EmulatorEvent): boolean

  /** Waits until the guest says something, at most this long. Rejects when the signal is aborted. */
  async next(timeoutMs: number, { ports, signal }: { readonly ports: Ports; readonly signal: AbortSignal }) {
    const enough = new AbortController()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    const patience = ports.clock
      .sleep(timeoutMs, AbortSignal.any([signal, enough.signal]))
      .catch(() => undefined)
    await Promise.race([promise, patience])
    enough.abort()
    this.#wake = () => {}
    signal.throwIfAborted()
  }

  [Symbol.dispose](): void {
    this.#stop()
  }
}
