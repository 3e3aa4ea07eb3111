/**
 * The connector of one emulator: started with its first disk on a storage server, and anew when it has died, also by a daemon that has
 * found the emulator running.
 */
import { isAlive, type ProcessIdentity } from '@kvasir/linux'
import type { CageGroups } from '../cage/cage-groups.ts'
import { ensureConnector } from '../cage/connectors.ts'
import { type EmulatorPaths, readWhole } from './runtime-directory.ts'

/** How often it is looked whether the connector lives: for that long, an emulator may wait that connects again. */
const lookMs = 1_000

export interface EmulatorConnectorParts {
  readonly groups: Pick<CageGroups, 'path' | 'processes'>
  readonly group: string
  readonly paths: Pick<EmulatorPaths, 'reach'>
  readonly emulator: ProcessIdentity
  /** It can connect sockets past what watches connect(2), so it is given no server. */
  readonly hasIoUring: boolean
}

export class EmulatorConnector {
  readonly #parts: EmulatorConnectorParts
  #ensuring: Promise<string | undefined> | undefined
  #timer: NodeJS.Timeout | undefined
  #isReleased = false

  constructor(parts: EmulatorConnectorParts) {
    this.#parts = parts
  }

  /** Sees to it that there is one from now on. Answers why there cannot be, as a clause. */
  async ensure(): Promise<string | undefined> {
    const { hasIoUring, paths } = this.#parts
    const isNew = (await readWhole(paths.reach)) === undefined
    if (hasIoUring && isNew) return 'it was started with a disk on io_uring'
    this.#ensuring ??= this.#ensure().finally(() => {
      this.#ensuring = undefined
    })
    const why = await this.#ensuring
    if (why === undefined) this.#lookSoon()
    return why
  }

  /** As `ensure`, for an emulator that may have been given servers before. */
  async resume(): Promise<void> {
    if ((await readWhole(this.#parts.paths.reach)) !== undefined) this.#lookSoon(0)
  }

  release(): void {
    this.#isReleased = true
    clearTimeout(this.#timer)
  }

  async #ensure(): Promise<string | undefined> {
    const { groups, group, emulator, paths } = this.#parts
    const reach = { allowed: [], file: paths.reach }
    return await ensureConnector({ groups, group, pid: emulator.pid, reach })
  }

  #lookSoon(afterMs = lookMs): void {
    if (this.#isReleased || this.#timer !== undefined) return
    this.#timer = setTimeout(() => void this.#look(), afterMs).unref()
  }

  /** One that cannot be started now is tried again: what hinders it may pass. */
  async #look(): Promise<void> {
    const isRunning = await isAlive(this.#parts.emulator).catch(() => true)
    if (!isRunning || this.#isReleased) return
    await this.#ensure().catch(() => undefined)
    this.#timer = undefined
    this.#lookSoon()
  }
}
