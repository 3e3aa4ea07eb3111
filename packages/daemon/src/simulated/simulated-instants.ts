/** Disks of a simulated emulator as they were at one instant, and their bitmaps, which its process keeps as the daemon comes and goes. */
import { type ChangedPiece, KvasirError } from '@kvasir/contract'
import type { DiskBitmap } from '../model/storage/checkpoint-state.ts'
import type { EmulatorInstants, InstantName, KeptDisk } from '../ports/emulator-instants.ts'
import type { EmulatorProcess } from './emulator-process.ts'

/** What has changed since any checkpoint. */
const changedBytes = 65_536

export class SimulatedInstants implements EmulatorInstants {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async open(disks: readonly KeptDisk[]): Promise<void> {
    await this.#process.answer()
    for (const { disk } of disks) this.#requireDisk(disk)
  }

  async take(disks: readonly KeptDisk[], { begins }: { readonly begins: string | undefined }): Promise<void> {
    await this.#process.answer()
    for (const { disk } of disks) this.#requireDisk(disk)
    for (const { id, disk } of disks) this.#process.disks.kept.set(id, { disk })
    if (begins !== undefined)
      for (const { disk } of disks) this.#bitmapsOf(disk).set(begins, { isWhole: true })
  }

  async copied(): Promise<number> {
    await this.#process.answer()
    return 1
  }

  async *read(
    { id }: InstantName,
    { sizeBytes, isIncrement, signal }: Parameters<EmulatorInstants['read']>[1],
  ): AsyncGenerator<ChangedPiece> {
    await this.#process.answer()
    if (!this.#process.disks.kept.has(id))
      throw new KvasirError('emulator-failed', 'The emulator keeps no such disk.')
    signal.throwIfAborted()
    const bytes = new Uint8Array(Math.min(changedBytes, sizeBytes)).fill(7)
    yield { kind: 'data', bytes }
    yield { kind: isIncrement ? 'same' : 'zeros', lengthBytes: sizeBytes - bytes.length }
  }

  async end({ id }: InstantName): Promise<void> {
    await this.#process.answer()
    const { disks } = this.#process
    if (disks.refusalsToLetGo > 0) {
      disks.refusalsToLetGo--
      throw new KvasirError('emulator-failed', 'The emulator refused: Job not found')
    }
    disks.kept.delete(id)
  }

  async bitmaps(disks: readonly string[], prefix: string): Promise<readonly DiskBitmap[]> {
    await this.#process.answer()
    return disks.flatMap((disk) =>
      [...this.#bitmapsOf(disk)]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, { isWhole }]) => ({ disk, name, isWhole, changedBytes })),
    )
  }

  async beginBitmaps(name: string, disks: readonly string[]): Promise<void> {
    await this.#process.answer()
    for (const disk of disks) this.#requireDisk(disk)
    for (const disk of disks) this.#bitmapsOf(disk).set(name, { isWhole: true })
  }

  async removeBitmaps(name: string, disks: readonly string[]): Promise<void> {
    await this.#process.answer()
    for (const disk of disks) this.#bitmapsOf(disk).delete(name)
  }

  #bitmapsOf(disk: string): Map<string, { readonly isWhole: boolean }> {
    const { bitmaps } = this.#process.disks
    const found = bitmaps.get(disk) ?? new Map<string, { readonly isWhole: boolean }>()
    bitmaps.set(disk, found)
    return found
  }

  #requireDisk(disk: string): void {
    if (this.#process.chains.has(disk)) return
    throw new KvasirError('emulator-failed', `The emulator has no disk ${disk}.`)
  }
}
