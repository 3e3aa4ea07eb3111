/** The NICs of a simulated emulator: plugged at once, let go of by a guest that a test may make stubborn. */
import type { NicSpec } from '@kvasir/contract'
import type { NicPlan } from '../model/qemu/nic.ts'
import type { EmulatorNics, TappedNic } from '../ports/emulator-nics.ts'
import type { EmulatorProcess } from './emulator-process.ts'

export class SimulatedNics implements EmulatorNics {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async plug({ nic, ids, backEnd }: NicPlan): Promise<void> {
    await this.#process.answer()
    const user = { kind: 'passt', reason: 'it is simulated' } as const
    this.#process.nics.plugged.set(nic, backEnd.kind === 'user' ? { ...ids, user } : ids)
  }

  async present(nics: readonly string[]): Promise<readonly string[]> {
    await this.#process.answer()
    return nics.filter((nic) => this.#process.nics.plugged.has(nic))
  }

  async askFor(nic: string): Promise<void> {
    await this.#process.answer()
    this.#process.nics.askFor(nic)
  }

  async remove(): Promise<void> {
    await this.#process.answer()
  }

  async withoutTap(nics: readonly TappedNic[]): Promise<readonly string[]> {
    await this.#process.answer()
    const { lostTaps } = this.#process.nics
    return nics.flatMap(({ nic }) => (lostTaps.has(nic) ? [nic] : []))
  }

  async cutOff(nic: string): Promise<void> {
    await this.#process.answer()
    this.#process.nics.cutOff.add(nic)
  }

  async setLinks(links: ReadonlyMap<string, NicSpec['link']>): Promise<void> {
    await this.#process.answer()
    for (const [nic, link] of links)
      if (this.#process.nics.plugged.has(nic)) this.#process.nics.links.push({ nic, link })
  }
}
