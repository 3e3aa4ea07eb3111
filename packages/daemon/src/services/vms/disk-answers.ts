/** What a guest says about its disks while they are taken away. */
import { deviceId } from '../../model/qemu/ids.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'

export class DiskAnswers implements Disposable {
  readonly #refused = new Set<string>()
  readonly #stop: () => void
  #wake: () => void = () => {}

  constructor(emulator: Emulator) {
    this.#stop = emulator.onEvent((event) => {
      if (event.kind !== 'disk') return
      if (!event.answer.isGone) this.#refused.add(event.answer.device)
      this.#wake()
    })
  }

  hasRefused(disk: string): boolean {
    return devicesOfDisk(disk).some((id) => this.#refused.has(id))
  }

  /** Waits until something happens to the disks, at most this long. Rejects when the signal is aborted. */
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

/** The ids that a disk's device and its controller have. */
export function devicesOfDisk(disk: string): readonly string[] {
  return [deviceId('disk', disk), deviceId('scsi', disk)]
}
