/** The channels of a simulated emulator: a guest that has them all open and gives back what it is told. They come and go at once. */
import { type Duplex, duplexPair } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import type { ChannelPlan } from '../model/qemu/channels.ts'
import type { EmulatorChannels } from '../ports/emulator-channels.ts'
import type { EmulatorProcess } from './emulator-process.ts'

export class SimulatedChannels implements EmulatorChannels {
  readonly #process: EmulatorProcess
  readonly #taken = new Set<string>()
  readonly #streams = new Map<string, Duplex>()

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  isOpen(name: string): boolean {
    return this.#process.runState === 'running' && this.#has(name)
  }

  async connect(name: string): Promise<Duplex> {
    await this.#process.answer()
    if (!this.#has(name))
      throw new KvasirError('unsupported', `The emulator has no channel ${name}, so nothing reaches it.`)
    if (this.#taken.has(name))
      throw new KvasirError(
        'console-taken',
        `Somebody else is connected to channel ${name}, which takes one at a time, so the connection is refused.`,
      )
    this.#taken.add(name)
    const [ours, theirs] = duplexPair()
    theirs.once('close', () => {
      this.#taken.delete(name)
      ours.destroy()
    })
    ours.on('error', () => {}) // Who was connected went.
    ours.pipe(ours)
    this.#streams.set(name, theirs)
    void this.#process.ended.then(() => ours.destroy())
    return theirs
  }

  async plug({ channel, ids }: ChannelPlan): Promise<void> {
    await this.#process.answer()
    this.#process.channels.sockets.set(channel, ids)
    this.#process.channels.ports.add(channel)
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    await this.#process.answer()
    return names.filter((name) => this.#process.channels.ports.has(name))
  }

  async askFor(name: string): Promise<void> {
    await this.#process.answer()
    this.#process.channels.unplug(name)
  }

  async remove(name: string): Promise<void> {
    await this.#process.answer()
    this.#process.channels.sockets.delete(name)
    this.#streams.get(name)?.destroy()
  }

  #has(name: string): boolean {
    return this.#process.channels.sockets.has(name)
  }
}
