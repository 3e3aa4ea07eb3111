/** The screen of a simulated emulator: one pixel, servers that greet, a keyboard whose keys are printed. */
import { type Duplex, duplexPair } from 'node:stream'
import { type KeyName, KvasirError } from '@kvasir/contract'
import type { EmulatorScreen } from '../ports/emulator-screen.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

const onePixelPng =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export class SimulatedScreen implements EmulatorScreen {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  async screenshot(): Promise<Uint8Array> {
    await this.#process.answer()
    return Buffer.from(onePixelPng, 'base64')
  }

  async connectVnc(): Promise<Duplex> {
    if (this.#process.request.plan.ids.vncSocketName === undefined)
      throw new KvasirError('unsupported', 'The VM has no display, so VNC cannot reach it.')
    return this.#greet('RFB 003.008\n')
  }

  async connectSpice(): Promise<Duplex> {
    if (this.#process.request.plan.ids.spiceSocketName === undefined)
      throw new KvasirError('unsupported', 'The VM has no SPICE, so it cannot be reached by that.')
    return this.#greet('REDQ')
  }

  async setSpicePassword(password: string): Promise<void> {
    await this.#process.answer()
    this.#machine.spicePasswords.set(this.#process.request.id, password)
  }

  async sendKeys(keys: readonly KeyName[]): Promise<void> {
    await this.#process.answer()
    this.#process.guestPrints(`pressed: ${keys.join(' ')}\r\n`)
  }

  #greet(words: string): Duplex {
    const [ours, theirs] = duplexPair()
    ours.on('error', () => {}) // The viewer went.
    ours.on('end', () => ours.destroy())
    ours.resume()
    ours.write(words)
    void this.#process.ended.then(() => ours.destroy())
    return theirs
  }
}
