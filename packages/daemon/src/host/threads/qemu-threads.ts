/** The port of an emulator's threads on a real QEMU. */
import type { QmpClient } from '@kvasir/qmp'
import type { ThreadPlan } from '../../model/placement/plan-threads.ts'
import type { EmulatorThreads } from '../../ports/emulator-threads.ts'
import { applyThreads, inspectThreads, type ThreadTarget } from './apply-threads.ts'
import { askThreadNames, type ThreadNames } from './emulator-threads.ts'

export interface QemuThreadsParts extends Omit<ThreadTarget, 'names' | 'record'> {
  /** The emulator as it is now: disks come and go, with their I/O threads. */
  readonly record: () => ThreadTarget['record']
  /** Lends the monitor, which may have been opened anew since, and explains what goes wrong with it. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
}

export class QemuThreads implements EmulatorThreads {
  readonly #parts: QemuThreadsParts
  /** As the emulator told them last. */
  #known: ThreadNames | undefined

  constructor(parts: QemuThreadsParts) {
    this.#parts = parts
  }

  async apply(plan: ThreadPlan, { asKnown = false }: { readonly asKnown?: boolean } = {}): Promise<void> {
    const known = asKnown ? this.#known : undefined
    await applyThreads({ ...this.#target(), names: known ?? (await this.#askNames()) }, plan)
  }

  async inspect(plan: ThreadPlan): Promise<readonly string[]> {
    return await inspectThreads({ ...this.#target(), names: await this.#askNames() }, plan)
  }

  #target(): Omit<ThreadTarget, 'names'> {
    return { ...this.#parts, record: this.#parts.record() }
  }

  async #askNames(): Promise<ThreadNames> {
    const { ask, record } = this.#parts
    const names = await ask((monitor) => askThreadNames(monitor, record().plan))
    this.#known = names
    return names
  }
}
