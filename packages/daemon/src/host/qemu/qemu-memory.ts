/**
 * The memory of one running QEMU: its backends, its balloon and its virtio-mem device over QMP, its limits in its cgroup.
 *
 * Whether there is a device to plug memory into is asked once: none comes or goes while an emulator runs, as a balloon does.
 */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { plugMemoryId } from '../../model/qemu/ids.ts'
import { memoryLimitFiles } from '../../model/vm/limit-files.ts'
import type { EmulatorMemory, HeldMemory, MemoryLimits, PluggedMemory } from '../../ports/emulator-memory.ts'
import { readBalloon } from './guest-memory.ts'
import { readHeldMemory } from './held-memory.ts'
import type { PageWalks } from './page-walks.ts'

/** How long a look at what the host holds is kept, at least, and how many times as long as it took. */
const heldMs = 1_000
const heldCosts = 50

/** How long the kernel may take to give a guest pages of its own for all that were merged; the guest stands meanwhile. */
const mergeMs = 60_000

export interface QemuMemoryParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly pid: number
  readonly cgroup: string
  readonly walks: PageWalks
  /** Writes files of the VM's cgroup, and returns those that were not accepted. */
  readonly limit: (files: Readonly<Record<string, string>>) => Promise<readonly string[]>
}

export class QemuMemory implements EmulatorMemory {
  readonly #parts: QemuMemoryParts
  #hasDevice: boolean | undefined
  #held: { untilMs: number; readonly answer: Promise<HeldMemory> } | undefined

  constructor(parts: QemuMemoryParts) {
    this.#parts = parts
  }

  async balloonBytes(): Promise<number | undefined> {
    return await this.#parts.ask((monitor) => readBalloon(monitor))
  }

  async setBalloon(bytes: number): Promise<void> {
    const isThere = await this.#parts.ask(async (monitor) => {
      if ((await readBalloon(monitor)) === undefined) return false
      await monitor.execute('balloon', { value: bytes })
      return true
    })
    if (!isThere)
      throw new KvasirError('unsupported', 'The VM runs without a balloon, so none can be filled.')
  }

  async plugged(ask: QemuMemoryParts['ask'] = this.#parts.ask): Promise<PluggedMemory | undefined> {
    if (this.#hasDevice === false) return undefined
    const found = await ask(queryPlugged)
    this.#hasDevice = found !== undefined
    return found
  }

  async request(bytes: number): Promise<void> {
    await this.#parts.ask((monitor) =>
      monitor.execute('qom-set', {
        path: `/machine/peripheral/${plugMemoryId}`,
        property: 'requested-size',
        value: bytes,
      }),
    )
  }

  /**
   * QEMU advises the mapping of a backend anew when its `merge` is set (7.2: backends/hostmem.c, host_memory_backend_set_merge); what is
   * set already it leaves alone.
   */
  async setMerging(merges: boolean): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      for (const { id, merge } of await monitor.execute('query-memdev')) {
        if (id === undefined || merge === merges) continue
        const property = { path: `/objects/${id}`, property: 'merge', value: merges }
        await monitor.execute('qom-set', property, { timeoutMs: mergeMs })
      }
    })
  }

  held(): Promise<HeldMemory> {
    const now = performance.now()
    if (this.#held === undefined || now >= this.#held.untilMs) {
      const answer = readHeldMemory(this.#parts)
      const kept = { untilMs: Number.POSITIVE_INFINITY, answer }
      this.#held = kept
      const keepFor = () => {
        kept.untilMs = performance.now() + Math.max(heldMs, (performance.now() - now) * heldCosts)
      }
      answer.then(keepFor, () => {
        if (this.#held === kept) this.#held = undefined
      })
    }
    return this.#held.answer
  }

  async limit(
    limits: MemoryLimits,
    { leave = [] }: { readonly leave?: readonly string[] } = {},
  ): Promise<readonly string[]> {
    const files = Object.entries(memoryLimitFiles(limits)).filter(([file]) => !leave.includes(file))
    return await this.#parts.limit(Object.fromEntries(files))
  }
}

/** What QEMU says of the device that memory is plugged into; undefined when it has none. */
async function queryPlugged(monitor: QmpClient): Promise<PluggedMemory | undefined> {
  for (const { type, data } of await monitor.execute('query-memory-devices')) {
    if (type !== 'virtio-mem' || data.id !== plugMemoryId) continue
    return {
      requestedBytes: data['requested-size'],
      pluggedBytes: data.size,
      regionBytes: data['max-size'],
    }
  }
  return undefined
}
