/** Layers of a simulated emulator that sink into the volume under them, which its process keeps as the daemon comes and goes. */
import { KvasirError } from '@kvasir/contract'
import { groundName } from '../model/storage/volume-source.ts'
import type { FollowOptions } from '../ports/emulator-mirrors.ts'
import type { EmulatorSinks, Sink, SinkState } from '../ports/emulator-sinks.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

const copySteps = 4
const totalBytes = 2 ** 30

export class SimulatedSinks implements EmulatorSinks {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  async state(sink: Sink): Promise<SinkState> {
    await this.#process.answer()
    const known = this.#process.disks.sinks.get(sink.id)
    if (known) return known
    const chain = this.#chain(sink)
    return chain.includes(groundName(sink.into.source)) && !chain.includes(sink.layer) ? 'over' : 'absent'
  }

  async begin(sink: Sink): Promise<void> {
    await this.#process.answer()
    const chain = this.#chain(sink)
    const at = chain.indexOf(sink.layer)
    if (at === -1 || chain[at + 1] !== groundName(sink.into.source))
      throw new KvasirError('emulator-failed', 'The emulator does not have what was to be merged.')
    this.#process.disks.sinks.set(sink.id, 'sinking')
  }

  async follow(sink: Sink, { onProgress, signal }: FollowOptions): Promise<void> {
    for (let step = 1; step <= copySteps; step++) {
      await this.#process.answer()
      await this.#machine.clock.sleep(this.#machine.stepMs, signal)
      signal.throwIfAborted()
      await onProgress({ copiedBytes: (totalBytes * step) / copySteps, totalBytes, isSame: false })
    }
    await this.#process.answer()
    if (this.#chain(sink)[0] !== sink.layer) this.#goOver(sink)
  }

  async hold(sink: Sink): Promise<void> {
    await this.#process.answer()
    this.#process.disks.sinks.set(sink.id, 'held')
  }

  async finish(sink: Sink): Promise<void> {
    await this.#process.answer()
    this.#goOver(sink)
  }

  async abandon(sink: Sink): Promise<void> {
    await this.#process.answer()
    this.#process.disks.sinks.delete(sink.id)
  }

  #goOver({ disk, id, layer }: Sink): void {
    const { chains, disks } = this.#process
    chains.set(
      disk,
      (chains.get(disk) ?? []).filter((path) => path !== layer),
    )
    disks.sinks.delete(id)
  }

  #chain({ disk }: Sink): readonly string[] {
    return this.#process.chains.get(disk) ?? []
  }
}
