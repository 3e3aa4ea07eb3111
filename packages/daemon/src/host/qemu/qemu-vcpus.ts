/**
 * The vCPUs of one running QEMU: which slots there are and which are filled, over QMP (query-hotpluggable-cpus, device_add, device_del).
 *
 * A vCPU is told apart by its slot. One of the boot has no id, so the guest is asked to let go of it by its path in QOM.
 */
import { KvasirError } from '@kvasir/contract'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import type { EmulatorVcpus, VcpuThread } from '../../ports/emulator-vcpus.ts'

export interface QemuVcpusParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  /** The threads of the boot. */
  readonly threads: readonly VcpuThread[]
}

/** What QEMU says of the guest's side when that has not taken over the plugging of vCPUs (hw/acpi/ich9.c). */
const nobodyListens = /unplug request for not supported device type/

export class QemuVcpus implements EmulatorVcpus {
  readonly #parts: QemuVcpusParts
  #threads: readonly VcpuThread[]

  constructor(parts: QemuVcpusParts) {
    this.#parts = parts
    this.#threads = parts.threads
  }

  /** The threads that were there when QEMU was last asked. */
  get threads(): readonly VcpuThread[] {
    return this.#threads
  }

  async count(): Promise<number> {
    const threads = await this.#parts.ask(readThreads)
    this.#threads = threads
    return threads.length
  }

  async plug(): Promise<void> {
    await this.#parts.ask(plugNext)
    await this.count()
  }

  async askForLast(): Promise<void> {
    try {
      await this.#parts.ask(askForLast)
    } catch (error) {
      if (!(error instanceof KvasirError && nobodyListens.test(error.message))) throw error
      throw new KvasirError(
        'guest-refused',
        'Nothing in the guest listens to requests to let go of a vCPU (its ACPI has not taken over), so none was taken away.',
        { cause: error },
      )
    }
  }
}

/** The vCPU threads of a QEMU, in the order of their slots. */
export async function readThreads(monitor: QmpClient, timeoutMs?: number): Promise<readonly VcpuThread[]> {
  const options = timeoutMs === undefined ? {} : { timeoutMs }
  const cpus = await monitor.execute('query-cpus-fast', undefined, options)
  return cpus
    .map((cpu) => ({ index: cpu['cpu-index'], threadId: cpu['thread-id'] }))
    .sort((a, b) => a.index - b.index)
}

async function plugNext(monitor: QmpClient): Promise<void> {
  const slots = await readSlots(monitor)
  const index = slots.findIndex((slot) => slot['qom-path'] === undefined)
  const slot = slots[index]
  if (!slot)
    throw new KvasirError(
      'unsupported',
      `All ${slots.length} slots for vCPUs are filled, so no other one can be plugged.`,
    )
  await monitor.execute('device_add', { driver: slot.type, id: `vcpu${index}`, ...slot.props })
}

async function askForLast(monitor: QmpClient): Promise<void> {
  const path = (await readSlots(monitor)).findLast((slot) => slot['qom-path'] !== undefined)?.['qom-path']
  if (path === undefined) throw new KvasirError('emulator-failed', 'The emulator says that it has no vCPU.')
  await monitor.execute('device_del', { id: path }).catch((error: unknown) => {
    // The guest let go of it in between.
    if (!(error instanceof QmpError && error.class === 'DeviceNotFound')) throw error
  })
}

/** The slots in the order in which they are filled; QEMU lists them the other way round. */
async function readSlots(monitor: QmpClient) {
  const slots = await monitor.execute('query-hotpluggable-cpus')
  return slots.toSorted((a, b) => {
    for (const key of ['socket-id', 'die-id', 'core-id', 'thread-id'] as const) {
      const difference = (a.props[key] ?? 0) - (b.props[key] ?? 0)
      if (difference !== 0) return difference
    }
    return 0
  })
}
