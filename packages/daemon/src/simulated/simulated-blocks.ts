/** The disks of a simulated emulator: chains of paths, which its process keeps as the daemon comes and goes. */
import { KvasirError } from '@kvasir/contract'
import { firstDescriptor } from '../model/qemu/emulator-plan.ts'
import { chainNodes } from '../model/qemu/ids.ts'
import type {
  AbsorbOptions,
  Absorption,
  AskedChains,
  EmulatorBlocks,
  NewOverlay,
  OpenChain,
  OpenOverlays,
} from '../ports/emulator-blocks.ts'
import type { LaunchRequest } from '../ports/emulators.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'
import { SimulatedInstants } from './simulated-instants.ts'
import { SimulatedMirrors } from './simulated-mirrors.ts'
import { SimulatedNotes } from './simulated-notes.ts'
import { SimulatedSinks } from './simulated-sinks.ts'

const copySteps = 4

export class SimulatedBlocks implements EmulatorBlocks {
  readonly mirrors: SimulatedMirrors
  readonly instants: SimulatedInstants
  readonly sinks: SimulatedSinks
  readonly notes: SimulatedNotes
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
    this.mirrors = new SimulatedMirrors(process, machine)
    this.instants = new SimulatedInstants(process)
    this.notes = new SimulatedNotes(process, machine)
    this.sinks = new SimulatedSinks(process, machine)
  }

  async chains({ disks }: AskedChains): Promise<readonly OpenChain[]> {
    await this.#process.answer()
    return disks.flatMap((disk) => {
      const chain = this.#process.chains.get(disk)
      return chain ? [{ disk, layers: chain.map((path) => ({ node: path, path })) }] : []
    })
  }

  async openOverlays(overlays: readonly NewOverlay[]): Promise<OpenOverlays> {
    await this.#process.answer()
    for (const { disk } of overlays) this.#chainOf(disk)
    this.#process.disks.openedFrozen = this.#process.isFrozen
    return {
      layOver: async () => {
        await this.#process.answer()
        for (const { disk, path } of overlays) this.#process.chains.set(disk, [path, ...this.#chainOf(disk)])
        return { waitedMs: 1 }
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  async absorb(absorption: Absorption, { onProgress, signal }: AbsorbOptions): Promise<void> {
    for (let step = 1; step <= copySteps; step++) {
      await this.#process.answer()
      await this.#machine.clock.sleep(this.#machine.stepMs, signal)
      signal.throwIfAborted()
      onProgress(step / copySteps)
    }
    await this.#process.answer()
    const chain = this.#chainOf(absorption.disk)
    const at = chain.indexOf(absorption.path)
    if (at === -1)
      throw new KvasirError('emulator-failed', `The emulator does not have ${absorption.path} open.`)
    const base = absorption.base === undefined ? chain.length : chain.indexOf(absorption.base.path)
    this.#process.chains.set(absorption.disk, [...chain.slice(0, at + 1), ...chain.slice(base)])
  }

  async resize(disk: string, capacityBytes: number): Promise<void> {
    await this.#process.answer()
    const [top = ''] = this.#chainOf(disk)
    for (const [id, volume] of this.#machine.volumes)
      if (top.includes(id)) this.#machine.volumes.set(id, { ...volume, capacityBytes })
  }

  async close(): Promise<void> {
    await this.#process.answer()
  }

  #chainOf(disk: string): readonly string[] {
    const chain = this.#process.chains.get(disk)
    if (chain) return chain
    throw new KvasirError('emulator-failed', `The emulator has no disk ${disk}.`)
  }
}

/** The chains that an emulator was started with, told by the labels of its fd sets. */
export function startedChains({ plan }: LaunchRequest): Map<string, readonly string[]> {
  const files = new Map<string, string>()
  for (const [index, argument] of plan.argv.entries()) {
    const match = plan.argv[index - 1] === '-add-fd' ? /^fd=(\d+),.*opaque=(.+)$/.exec(argument) : undefined
    const descriptor = plan.descriptors[Number(match?.[1]) - firstDescriptor]
    if (match?.[2] !== undefined && descriptor?.kind === 'file') files.set(match[2], descriptor.path)
  }
  return new Map(
    Object.entries(plan.ids.disks).map(([disk, { chain }]) => [
      disk,
      chain.flatMap((_, depth) => files.get(chainNodes(disk, depth).file) ?? []),
    ]),
  )
}
