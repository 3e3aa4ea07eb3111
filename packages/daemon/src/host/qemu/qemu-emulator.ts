/**
 * One running QEMU behind its two monitors: commands on the first, statistics on the second, so that a slow query never delays a
 * command. Every command has a time-out; a QEMU that does not answer is `emulator-unresponsive`, and nothing is assumed of it.
 *
 * Not here: how it was launched (launch-emulator.ts) and found again (adopt-emulator.ts), what its states mean (model/vm).
 */

import type { Duplex } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import { isAlive } from '@kvasir/linux'
import { type CommandName, type ExecuteParameters, QmpClient } from '@kvasir/qmp'
import type { GuestActions } from '../../model/qemu/lifecycle.ts'
import type { LimitFiles } from '../../model/vm/limit-files.ts'
import type { VcpuThread } from '../../ports/emulator-vcpus.ts'
import type {
  Emulator,
  EmulatorEvent,
  EmulatorExit,
  EmulatorStatistics,
  IoStatus,
  SaveOptions,
} from '../../ports/emulators.ts'
import { readCappedLog } from '../cage/capped-log.ts'
import { QemuThreads } from '../threads/qemu-threads.ts'
import { QemuAgentChannel } from './agent-channel.ts'
import { asPortError } from './as-port-error.ts'
import { EmulatorConnector } from './emulator-connector.ts'
import type { EmulatorParts } from './emulator-parts.ts'
import { readIoStatus } from './io-status.ts'
import { openSocket } from './open-socket.ts'
import { QemuBlocks } from './qemu-blocks.ts'
import { QemuChannels } from './qemu-channels.ts'
import { QemuDevices } from './qemu-devices.ts'
import { QemuDisks, type QemuDisksParts } from './qemu-disks.ts'
import { translateEvent } from './qemu-events.ts'
import { QemuHostDevices } from './qemu-host-devices.ts'
import { QemuMemory } from './qemu-memory.ts'
import { QemuNics } from './qemu-nics.ts'
import { QemuScreen } from './qemu-screen.ts'
import { QemuShares } from './qemu-shares.ts'
import { QemuVcpus } from './qemu-vcpus.ts'
import { readLimitFiles } from './read-limit-files.ts'
import { groupOf, type StoredEmulator, writeLaunch, writeRecord } from './runtime-directory.ts'
import { abandonSave, saveMemory } from './save-memory.ts'
import { readStatistics } from './statistics.ts'
import { askUnserved } from './unserved-nics.ts'
import { waitForExit } from './wait-for-exit.ts'

const killTimeoutMs = 10_000
const reconnectMs = 500
const deathWaitMs = 3_000
const logTailBytes = 4096

export class QemuEmulator implements Emulator {
  readonly closed: Promise<EmulatorExit>
  readonly disks: QemuDisks
  readonly nics: QemuNics
  readonly screen: QemuScreen
  readonly channels: QemuChannels
  readonly hostDevices: QemuHostDevices
  readonly shares: QemuShares
  readonly devices: QemuDevices
  readonly agent: QemuAgentChannel
  readonly memory: QemuMemory
  readonly threads: QemuThreads
  readonly vcpus: QemuVcpus
  readonly blocks: QemuBlocks
  readonly #parts: EmulatorParts
  readonly #listeners = new Set<(event: EmulatorEvent) => void>()
  readonly #settleClosed: (exit: EmulatorExit) => void
  readonly #connector: EmulatorConnector
  #record: StoredEmulator
  #monitor: QmpClient
  #statisticsMonitor: Promise<QmpClient> | undefined
  #released = false

  constructor(parts: EmulatorParts) {
    this.#parts = parts
    this.#record = parts.record
    this.#monitor = parts.monitor
    this.agent = new QemuAgentChannel(parts.paths.socket('agent'))
    this.agent.noteConnected(parts.open.includes('agent'))
    this.memory = new QemuMemory({
      ask: (work) => this.#ask(work),
      pid: parts.record.pid,
      cgroup: parts.record.cgroup,
      walks: parts.walks,
      limit: (files) => parts.groups.limit(groupOf(parts.id), files),
    })
    const ask: QemuDisksParts['ask'] = (work) => this.#ask(work)
    const { groups, id, paths, secrets, failpoint, devices } = parts
    this.threads = new QemuThreads({ ask, record: () => this.#record, group: groupOf(id), groups })
    const { pid, uid } = parts.record
    this.#connector = new EmulatorConnector({
      groups,
      group: groupOf(id),
      paths,
      emulator: parts.record,
      hasIoUring: parts.record.cage.ioUring,
    })
    const connector = this.#connector
    if (parts.mayReach) void connector.resume()
    this.blocks = new QemuBlocks({ ask, pid, user: uid, secrets, paths, connector })
    const keep: QemuDisksParts['keep'] = async (change) => {
      this.#record = change(this.#record)
      await Promise.all([writeRecord(paths, this.#record), writeLaunch(paths, this.#record)])
    }
    const record = () => this.#record
    this.disks = new QemuDisks({ ask, paths, connector, record, keep, failpoint, secrets })
    this.nics = new QemuNics({ ask, keep, record, paths, failpoint, helpers: parts.helpers })
    this.screen = new QemuScreen({ ask, paths, emulator: parts.record })
    const unconnected = () => this.unconnected()
    const { open } = parts
    this.channels = new QemuChannels({ paths, ask, keep, failpoint, record, unconnected, open })
    this.hostDevices = new QemuHostDevices({ id, ask, devices, paths, failpoint, record })
    this.devices = new QemuDevices({ ask, failpoint })
    this.shares = new QemuShares({ id, ask, paths, cages: parts.cages, failpoint })
    this.vcpus = new QemuVcpus({ ask: (work) => this.#ask(work), threads: parts.vcpus })
    const { promise, resolve } = Promise.withResolvers<EmulatorExit>()
    this.closed = promise
    this.#settleClosed = resolve
    this.#follow(parts.monitor)
  }

  get record(): StoredEmulator {
    return this.#record
  }

  onEvent(listener: (event: EmulatorEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async runState(): Promise<string> {
    const { status } = await this.#execute('query-status')
    return status
  }

  async ioStatus(): Promise<IoStatus> {
    return await this.#ask((monitor) => readIoStatus(monitor, this.record.plan))
  }

  /** A socket without its other end is said to be so in its name (QEMU: chardev/char-socket.c). */
  async unconnected(): Promise<readonly string[]> {
    const channels = await this.#execute('query-chardev')
    const gone = channels.filter(({ filename }) => filename.startsWith('disconnected:'))
    return [...gone.map(({ label }) => label), ...(await this.#ask(askUnserved))]
  }

  async resume(): Promise<void> {
    await this.#execute('cont')
  }

  async pause(): Promise<void> {
    await this.#execute('stop')
  }

  async reset(): Promise<void> {
    await this.#execute('system_reset')
  }

  async pressPowerButton(): Promise<void> {
    await this.#execute('system_powerdown')
  }

  async act(actions: GuestActions): Promise<void> {
    await this.#execute('set-action', actions)
  }

  async end(options: { readonly graceMs: number }): Promise<void> {
    const { groups, failpoint, id } = this.#parts
    await failpoint('emulator.end.before-kill')
    if (options.graceMs > 0) {
      await this.#monitor.execute('quit', undefined, { timeoutMs: options.graceMs }).catch(() => undefined)
      await waitForExit(this.record, options.graceMs)
    }
    await groups.kill(groupOf(id), { timeoutMs: killTimeoutMs }).catch((cause: unknown) => {
      const { pid } = this.record
      throw new KvasirError(
        'host-failed',
        `The emulator (pid ${pid}) was killed and does not end, so the VM is not off.`,
        { cause },
      )
    })
    await failpoint('emulator.end.after-kill')
    await this.release()
    await groups.remove(groupOf(id), { timeoutMs: killTimeoutMs })
    await failpoint('emulator.end.after-cgroup')
  }

  async saveTo(path: string, options: SaveOptions): Promise<void> {
    const { paths, failpoint } = this.#parts
    const target = { path, directory: paths.directory, failpoint }
    await this.#ask((monitor) => saveMemory(monitor, target, options))
  }

  async abandonSave(): Promise<void> {
    await this.#ask((monitor) => abandonSave(monitor))
  }

  async vcpuThreads(): Promise<readonly VcpuThread[]> {
    return this.vcpus.threads
  }

  async limits(files: readonly string[]): Promise<LimitFiles> {
    return await readLimitFiles(this.record.cgroup, files)
  }

  async statistics(): Promise<EmulatorStatistics> {
    return await readStatistics(this.record, {
      vcpus: this.vcpus.threads,
      monitor: () => this.#openStatisticsMonitor(),
      id: this.#parts.id,
      beside: () => this.#parts.groups.processes(groupOf(this.#parts.id)),
      plugged: () => this.memory.plugged((work) => this.#openStatisticsMonitor().then(work)),
    })
  }

  async connectSerial(): Promise<Duplex> {
    return await openSocket(this.#parts.paths.socket('serial'))
  }

  async release(): Promise<void> {
    this.#released = true
    this.agent.release()
    this.#connector.release()
    this.#monitor.close()
    const statistics = this.#statisticsMonitor
    this.#statisticsMonitor = undefined
    statistics?.then((client) => client.close()).catch(() => {}) // A monitor that never opened has nothing to close.
  }

  async #execute<C extends CommandName>(command: C, ...rest: ExecuteParameters<C>) {
    return await this.#ask((monitor) => monitor.execute(command, ...rest))
  }

  async #ask<T>(work: (monitor: QmpClient) => Promise<T>): Promise<T> {
    try {
      return await work(this.#monitor)
    } catch (error) {
      throw asPortError(error)
    }
  }

  #follow(monitor: QmpClient): void {
    monitor.on('*', (event) => {
      this.channels.note(event)
      const translated = translateEvent(event)
      if (!translated) return
      if (translated.kind === 'agent') this.agent.noteConnected(translated.connected)
      for (const listener of this.#listeners) listener(translated)
    })
    void monitor.closed.then(() => this.#afterMonitor())
  }

  /** The monitor is gone: most likely the process too. While it lives, the monitor is opened again. */
  async #afterMonitor(): Promise<void> {
    await waitForExit(this.record, deathWaitMs)
    while (await isAlive(this.record)) {
      if (this.#released) return
      try {
        this.#monitor = await QmpClient.connect({ path: this.#parts.paths.socket('monitor') })
        this.#follow(this.#monitor)
        for (const listener of this.#listeners) listener({ kind: 'stopped' }) // A hint to look.
        return
      } catch {
        await new Promise((resolve) => setTimeout(resolve, reconnectMs))
      }
    }
    const exit = await Promise.race([
      this.#parts.exited,
      new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 200)),
    ])
    const log = Buffer.from(await readCappedLog(this.#parts.paths.emulatorLog, logTailBytes)).toString('utf8')
    this.#settleClosed({ code: exit?.code, signal: exit?.signal, log })
  }

  #openStatisticsMonitor(): Promise<QmpClient> {
    this.#statisticsMonitor ??= QmpClient.connect({ path: this.#parts.paths.socket('statistics') }).then(
      (client) => {
        void client.closed.then(() => {
          this.#statisticsMonitor = undefined
        })
        return client
      },
      (error) => {
        this.#statisticsMonitor = undefined
        throw error
      },
    )
    return this.#statisticsMonitor
  }
}
