/** Bitmaps of raw disks of a simulated emulator, put away in files of its machine. */
import { KvasirError } from '@kvasir/contract'
import type { DiskNotes, EmulatorNotes } from '../ports/emulator-notes.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'

export class SimulatedNotes implements EmulatorNotes {
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
  }

  async putAway({ disk, path }: DiskNotes): Promise<number> {
    await this.#process.answer()
    const names = [...(this.#process.disks.bitmaps.get(disk)?.keys() ?? [])]
    this.#machine.notes.set(idOf(path), names)
    return names.length
  }

  async takeBack({ disk, path, names }: DiskNotes & { readonly names: readonly string[] }): Promise<number> {
    await this.#process.answer()
    const noted = this.#machine.notes.get(idOf(path))
    if (!noted) throw new KvasirError('host-failed', `${path} cannot be opened, so the VM does not get it.`)
    const kept = noted.filter((name) => names.includes(name))
    const { bitmaps } = this.#process.disks
    bitmaps.set(
      disk,
      new Map([...(bitmaps.get(disk) ?? []), ...kept.map((name) => [name, { isWhole: true }] as const)]),
    )
    return kept.length
  }

  async letGo(): Promise<void> {
    await this.#process.answer()
  }
}

function idOf(path: string): string {
  return /\/notes\/([^/]+)\.notes$/.exec(path)?.[1] ?? ''
}
