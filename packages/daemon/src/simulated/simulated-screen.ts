/** The screen of a simulated emulator: one pixel, and a VNC server that greets. */
import { type Duplex, duplexPair } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import type { EmulatorScreen } from '../ports/emulator-screen.ts'
import type { EmulatorProcess } from './emulator-process.ts'

const onePixelPng =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export class SimulatedScreen implements EmulatorScreen {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async screenshot(): Promise<Uint8Array> {
    await this.#process.answer()
    return Buffer.from(onePixelPng, 'base64')
  }

  async connectVnc(): Promise<Duplex> {
    if (this.#process.request.plan.ids.vncSocketName === undefined)
      throw new KvasirError('unsupported', 'The VM has no display, so VNC cannot reach it.')
    const [ours, theirs] = duplexPair()
    ours.on('error', () => {}) // The viewer went.
    ours.on('end', () => ours.destroy())
    ours.resume()
    ours.write('RFB 003.008\n')
    void this.#process.ended.then(() => ours.destroy())
    return theirs
  }
}
