/** The disks of a simulated emulator: plugged at once, let go of by a guest that a test may make stubborn. */
import { type DiskThrottle, KvasirError } from '@kvasir/contract'
import type { DiskPlan } from '../model/qemu/disk-plan.ts'
import { deviceId } from '../model/qemu/ids.ts'
import type { EmulatorDisks, MediumChange } from '../ports/emulator-disks.ts'
import type { EmulatorProcess } from './emulator-process.ts'

export class SimulatedDisks implements EmulatorDisks {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async plug(plan: DiskPlan): Promise<void> {
    await this.#process.answer()
    if (this.#process.disks.refusesAll)
      throw new KvasirError('emulator-failed', 'The emulator refused: Failed to get "write" lock.')
    this.#process.disks.plugged.set(plan.disk, plan.ids)
    if (plan.ioThread !== undefined) this.#process.disks.ioThreads.add(plan.ioThread)
  }

  async present(disks: readonly string[]): Promise<readonly string[]> {
    await this.#process.answer()
    return disks.filter((disk) => this.#process.disks.plugged.has(disk))
  }

  async askFor(disk: string): Promise<void> {
    await this.#process.answer()
    this.#process.disks.askFor(disk)
  }

  async throttle(limits: ReadonlyMap<string, DiskThrottle | undefined>): Promise<void> {
    await this.#process.answer()
    for (const [disk, throttle] of limits) {
      if (throttle === undefined) this.#process.disks.limits.delete(disk)
      else if (this.#process.disks.plugged.has(disk)) this.#process.disks.limits.set(disk, throttle)
    }
  }

  async openTray(disk: string, { force }: { readonly force: boolean }): Promise<void> {
    await this.#process.answer()
    this.#process.disks.openTray(disk, force)
  }

  async changeMedium(plan: DiskPlan, { onEmpty }: MediumChange): Promise<void> {
    await this.#process.answer()
    const { disks } = this.#process
    const paths = plan.nodes.flatMap(({ file }) => file?.path ?? [])
    if (paths.length > 0 && disks.media.get(plan.disk)?.join() === paths.join()) return
    disks.openTray(plan.disk, false)
    disks.media.delete(plan.disk)
    await onEmpty()
    if (paths.length > 0) disks.media.set(plan.disk, paths)
    disks.openTrays.delete(plan.disk)
  }

  async remove(disk: string): Promise<void> {
    await this.#process.answer()
    this.#process.disks.ioThreads.delete(deviceId('io', disk))
  }
}
