/** What a guest says about its vCPUs while they are changed: which it has taken, which it refuses to let go of. */
import type { VcpuAnswer } from '../../ports/emulator-vcpus.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'

export class VcpuAnswers implements Disposable {
  readonly #taken = new Set<number>()
  readonly #refused = new Set<number>()
  readonly #stop: () => void
  #wake: () => void = () => {}

  constructor(emulator: Emulator) {
    this.#stop = emulator.onEvent((event) => {
      if (event.kind !== 'vcpus') return
      if (event.answer) this.#note(event.answer)
      this.#wake()
    })
  }

  /** How many of the vCPUs from one number up to another the guest has taken. */
  taken(from: number, to: number): number {
    return [...this.#taken].filter((index) => index >= from && index < to).length
  }

  hasRefused(index: number): boolean {
    return this.#refused.has(index)
  }

  /** Waits until something happens to the vCPUs, at most this long. Rejects when the signal is aborted. */
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

  #note({ index, about, isDone, isRefused }: VcpuAnswer): void {
    if (about === 'plug' && isDone) this.#taken.add(index)
    if (about === 'unplug' && isRefused) this.#refused.add(index)
  }
}
