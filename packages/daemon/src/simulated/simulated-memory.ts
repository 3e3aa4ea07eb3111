/** The memory of a simulated emulator: a guest that follows its balloon and takes what is plugged, as far as a test lets it. */
import { KvasirError } from '@kvasir/contract'
import { plugMemoryId } from '../model/qemu/ids.ts'
import type { EmulatorMemory, HeldMemory, MemoryLimits, PluggedMemory } from '../ports/emulator-memory.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

const limitsByFile = [
  { file: 'memory.high', limit: 'high' },
  { file: 'memory.max', limit: 'hard' },
  { file: 'memory.swap.max', limit: 'swap' },
] as const

export class SimulatedMemory implements EmulatorMemory {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  async balloonBytes(): Promise<number | undefined> {
    await this.#process.answer()
    return this.#process.devices.plugged.has('balloon') ? this.#process.balloonBytes : undefined
  }

  async setBalloon(bytes: number): Promise<void> {
    await this.#process.answer()
    if (!this.#process.devices.plugged.has('balloon'))
      throw new KvasirError('unsupported', 'The VM runs without a balloon, so none can be filled.')
    this.#process.fillBalloon(bytes)
  }

  async plugged(): Promise<PluggedMemory | undefined> {
    await this.#process.answer()
    const regionBytes = this.#regionBytes()
    if (regionBytes === undefined) return undefined
    const { requestedBytes, pluggedBytes } = this.#process
    return { requestedBytes, pluggedBytes, regionBytes }
  }

  async request(bytes: number): Promise<void> {
    await this.#process.answer()
    if (bytes > (this.#regionBytes() ?? 0))
      throw new KvasirError('emulator-failed', 'The emulator refused: the requested size is too large.')
    this.#process.requestMemory(bytes)
  }

  async setMerging(merges: boolean): Promise<void> {
    await this.#process.answer()
    this.#process.merges = merges
  }

  async held(): Promise<HeldMemory> {
    await this.#process.answer()
    const { request } = this.#process
    const residentBytes = Math.floor(request.memoryBytes / 4)
    return {
      at: this.#machine.clock.now(),
      residentBytes,
      swappedBytes: 0,
      zswappedBytes: 0,
      ksmBytes: 0,
      lockedBytes: 0,
      thpMode: 'madvise',
      huge: [],
      nodes: [{ node: 0, bytes: residentBytes }],
      limits: this.#machine.memoryLimits.get(request.id) ?? request.memoryLimits ?? {},
      notes: [],
    }
  }

  async limit(
    limits: MemoryLimits,
    { leave = [] }: { readonly leave?: readonly string[] } = {},
  ): Promise<readonly string[]> {
    const { id, memoryLimits = {} } = this.#process.request
    const before = this.#machine.memoryLimits.get(id) ?? memoryLimits
    const kept = limitsByFile.filter(({ file }) => leave.includes(file))
    const all = { ...limits, ...Object.fromEntries(kept.map(({ limit }) => [limit, before[limit]])) }
    this.#machine.memoryLimits.set(id, all)
    return []
  }

  /** The size of the device's backend, as the argv has it. */
  #regionBytes(): number | undefined {
    const backend = this.#process.request.plan.argv.find((word) => word.includes(`"${plugMemoryId}-ram"`))
    const size = /"size":(\d+)/.exec(backend ?? '')?.[1]
    return size === undefined ? undefined : Number(size)
  }
}
