/** Copies that follow the disks of a simulated emulator, which its process keeps as the daemon comes and goes. */
import { KvasirError } from '@kvasir/contract'
import { pathSource } from '../model/storage/volume-source.ts'
import type {
  EmulatorMirrors,
  FollowOptions,
  Mirror,
  MirrorName,
  MirrorState,
} from '../ports/emulator-mirrors.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

const copySteps = 4
const totalBytes = 2 ** 30

export class SimulatedMirrors implements EmulatorMirrors {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  async state({ disk, id }: MirrorName): Promise<MirrorState> {
    await this.#process.answer()
    const mirror = this.#process.disks.mirrors.get(id)
    if (mirror) return mirror.state
    return this.#process.chains.get(disk)?.[0]?.includes(id) ? 'over' : 'absent'
  }

  async begin({ disk, id, source, below = [] }: Mirror): Promise<void> {
    await this.#process.answer()
    if (!this.#process.chains.has(disk))
      throw new KvasirError('emulator-failed', `The emulator has no disk ${disk}.`)
    const paths = [source, ...below].map((one) => pathSource(one).path)
    this.#process.disks.mirrors.set(id, { disk, paths, state: 'copying' })
  }

  async setSpeed({ id }: MirrorName): Promise<void> {
    await this.#process.answer()
    this.#require(id)
  }

  async follow({ id }: MirrorName, { onProgress, signal }: FollowOptions): Promise<void> {
    let copiedBytes = 0
    let leftBytes = totalBytes
    while (leftBytes > 0) {
      await this.#process.answer()
      const { copies } = this.#process.disks
      if (copies === 'to a full disk') throw new KvasirError('not-enough-space', 'The disk is full.')
      this.#require(id)
      await this.#machine.clock.sleep(this.#machine.stepMs, signal)
      signal.throwIfAborted()
      if (copies !== 'stands still') copiedBytes += totalBytes / copySteps
      if (copies === 'well') leftBytes -= totalBytes / copySteps
      await onProgress({ copiedBytes, totalBytes: copiedBytes + leftBytes, isSame: false })
    }
  }

  async hold({ id }: MirrorName): Promise<void> {
    await this.#process.answer()
    this.#require(id).state = 'held'
  }

  async finish({ disk, id }: MirrorName): Promise<void> {
    await this.#process.answer()
    const { chains, disks } = this.#process
    const mirror = disks.mirrors.get(id)
    if (mirror) chains.set(disk, mirror.paths)
    disks.mirrors.delete(id)
  }

  async abandon({ id }: MirrorName): Promise<void> {
    await this.#process.answer()
    this.#process.disks.mirrors.delete(id)
  }

  #require(id: string) {
    const mirror = this.#process.disks.mirrors.get(id)
    if (mirror) return mirror
    throw new KvasirError('emulator-failed', 'The emulator ended the copying: the job is gone.')
  }
}
