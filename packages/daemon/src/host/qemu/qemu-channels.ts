/**
 * The channels of one QEMU: a socket each, in a directory that only root enters. QEMU takes one connection at a time and leaves others waiting
 * without a word, so it is asked beforehand whether somebody is connected, also by the socket itself.
 */
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { type QmpClient, QmpError, type QmpEvent } from '@kvasir/qmp'
import { type ChannelPlan, channelPortId } from '../../model/qemu/channels.ts'
import type { EmulatorChannels } from '../../ports/emulator-channels.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import { openSocket } from './open-socket.ts'
import { makeChannel, removeBackEnd, withChannel, withoutChannel } from './plug-channel.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'

/** QEMU notices a moment later that who was connected has gone. */
const leavingMs = 2_000
const pollMs = 50

export interface QemuChannelsParts {
  readonly paths: EmulatorPaths
  readonly record: () => Pick<StoredEmulator, 'plan'>
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  /** Changes what is written down about the emulator. */
  readonly keep: (change: (record: StoredEmulator) => StoredEmulator) => Promise<void>
  readonly failpoint: Failpoints
  /** The character devices that nobody is connected to. */
  readonly unconnected: () => Promise<readonly string[]>
  /** The character devices whose other end the guest has open. */
  readonly open: readonly string[]
}

export class QemuChannels implements EmulatorChannels {
  readonly #parts: QemuChannelsParts
  readonly #open: Set<string>
  /** Those that are being connected to, or are. */
  readonly #taken = new Set<string>()

  constructor(parts: QemuChannelsParts) {
    this.#parts = parts
    this.#open = new Set(parts.open)
  }

  isOpen(name: string): boolean {
    const device = this.#idsOf(name)?.device
    return device !== undefined && this.#open.has(device)
  }

  async connect(name: string): Promise<Duplex> {
    const ids = this.#idsOf(name)
    if (ids === undefined)
      throw new KvasirError('unsupported', `The emulator has no channel ${name}, so nothing reaches it.`)
    await this.#until(name, async () => this.#claim(name))
    try {
      await this.#until(name, async () => (await this.#parts.unconnected()).includes(ids.device))
      const socket = await openSocket(this.#parts.paths.socket(ids.socket))
      socket.once('close', () => this.#taken.delete(name))
      return socket
    } catch (error) {
      this.#taken.delete(name)
      throw error
    }
  }

  async plug(plan: ChannelPlan): Promise<void> {
    const { ask, keep, paths } = this.#parts
    if ((await this.present([plan.channel])).length > 0) return
    await keep((record) => withChannel(record, plan))
    try {
      await ask((monitor) => makeChannel(monitor, plan, this.#parts))
    } catch (error) {
      await ask((monitor) => removeBackEnd(monitor, plan.ids, paths)).catch(() => {}) // The next attempt begins with it.
      await keep((record) => withoutChannel(record, plan.channel))
      throw error
    }
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    if (names.length === 0) return []
    const all = await this.#parts.ask((monitor) =>
      monitor.execute('qom-list', { path: '/machine/peripheral' }),
    )
    return names.filter((name) => all.some((device) => device.name === channelPortId(name)))
  }

  async askFor(name: string): Promise<void> {
    await this.#parts.ask((monitor) =>
      monitor.execute('device_del', { id: channelPortId(name) }).catch((error: unknown) => {
        if (!(error instanceof QmpError && error.class === 'DeviceNotFound')) throw error
      }),
    )
  }

  async remove(name: string): Promise<void> {
    const ids = this.#idsOf(name)
    if (ids === undefined) return
    const { ask, keep, paths } = this.#parts
    await ask((monitor) => removeBackEnd(monitor, ids, paths))
    this.#open.delete(ids.device)
    await keep((record) => withoutChannel(record, name))
  }

  /** A guest opens and closes a port (QEMU: qapi/char.json, VSERPORT_CHANGE). */
  note({ event, data }: QmpEvent): void {
    if (event !== 'VSERPORT_CHANGE' || typeof data !== 'object' || data === null) return
    const device = String(Reflect.get(data, 'id')).replace(/-port$/, '')
    if (Reflect.get(data, 'open') === true) this.#open.add(device)
    else this.#open.delete(device)
  }

  /** Whether it is ours from now on. */
  #claim(name: string): boolean {
    if (this.#taken.has(name)) return false
    this.#taken.add(name)
    return true
  }

  #idsOf(name: string) {
    const { channels = {} } = this.#parts.record().plan.ids
    return Object.hasOwn(channels, name) ? channels[name] : undefined
  }

  async #until(name: string, isFree: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + leavingMs
    while (!(await isFree())) {
      if (performance.now() > deadline)
        throw new KvasirError(
          'console-taken',
          `Somebody else is connected to channel ${name}, which takes one at a time, so the connection is refused.`,
        )
      await pause(pollMs)
    }
  }
}
