/** The shares of a simulated emulator: plugged at once. */
import type { PluggedShare } from '../model/qemu/shares.ts'
import type { EmulatorShares } from '../ports/emulator-shares.ts'
import type { EmulatorProcess } from './emulator-process.ts'

export class SimulatedShares implements EmulatorShares {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async plug({ share }: PluggedShare): Promise<void> {
    await this.#process.answer()
    this.#process.shares.plugged.set(share.share, share)
    this.#process.shares.served.add(share.share)
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    await this.#process.answer()
    return names.filter((name) => this.#process.shares.plugged.has(name))
  }

  async askFor(name: string): Promise<void> {
    await this.#process.answer()
    this.#process.shares.askFor(name)
  }

  async remove(name: string): Promise<void> {
    await this.#process.answer()
    this.#process.shares.served.delete(name)
  }
}
