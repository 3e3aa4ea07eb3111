/** The port of an emulator's threads on a real QEMU. */
import type { QmpClient } from '@kvasir/qmp'
import type { ThreadPlan } from '../../model/placement/plan-threads.ts'
import type { EmulatorThreads } from '../../ports/emulator-threads.ts'
import { applyThreads, inspectThreads, type ThreadTarget } from './apply-threads.ts'

export interface QemuThreadsParts extends Omit<ThreadTarget, 'monitor'> {
  /** Lends the monitor, which may have been opened anew since, and explains what goes wrong with it. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
}

export class QemuThreads implements EmulatorThreads {
  readonly #parts: QemuThreadsParts

  constructor(parts: QemuThreadsParts) {
    this.#parts = parts
  }

  async apply(plan: ThreadPlan): Promise<void> {
    await this.#parts.ask((monitor) => applyThreads({ ...this.#parts, monitor }, plan))
  }

  async inspect(plan: ThreadPlan): Promise<readonly string[]> {
    return await this.#parts.ask((monitor) => inspectThreads({ ...this.#parts, monitor }, plan))
  }
}
