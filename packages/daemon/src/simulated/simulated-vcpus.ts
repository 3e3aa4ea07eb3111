/** The vCPUs of a simulated emulator: plugged at once, let go of by a guest that a test may make stubborn. */
import { KvasirError } from '@kvasir/contract'
import type { EmulatorVcpus } from '../ports/emulator-vcpus.ts'
import type { EmulatorProcess } from './emulator-process.ts'

export class SimulatedVcpus implements EmulatorVcpus {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async count(): Promise<number> {
    await this.#process.answer()
    return this.#process.vcpuCount
  }

  async plug(): Promise<void> {
    await this.#process.answer()
    const max = Number(/maxcpus=(\d+)/.exec(this.#process.request.plan.argv.join(' '))?.[1] ?? 0)
    if (this.#process.vcpuCount >= max)
      throw new KvasirError('unsupported', `All ${max} slots for vCPUs are filled.`)
    this.#process.plugVcpu()
  }

  async askForLast(): Promise<void> {
    await this.#process.answer()
    this.#process.askForVcpu()
  }
}
