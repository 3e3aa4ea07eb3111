/** One daemon's view of a simulated emulator: the port's calls, each answered by the process or not at all. */
import type { Duplex } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import { cpuLimits } from '../model/placement/cpu-limits.ts'
import type { GuestActions } from '../model/qemu/lifecycle.ts'
import { type LimitFiles, memoryLimitFiles } from '../model/vm/limit-files.ts'
import type {
  Emulator,
  EmulatorEvent,
  EmulatorExit,
  EmulatorRecord,
  EmulatorStatistics,
  IoStatus,
  SaveOptions,
} from '../ports/emulators.ts'
import type { EmulatorProcess } from './emulator-process.ts'
import type { SimulatedMachine } from './machine.ts'
import { SimulatedAgent } from './simulated-agent.ts'
import { SimulatedBlocks } from './simulated-blocks.ts'
import { SimulatedChannels } from './simulated-channels.ts'
import { SimulatedDevices } from './simulated-devices.ts'
import { SimulatedDisks } from './simulated-disks.ts'
import { vmIdOfSave } from './simulated-files.ts'
import { SimulatedHostDevices } from './simulated-host-devices.ts'
import { SimulatedMemory } from './simulated-memory.ts'
import { SimulatedNics } from './simulated-nics.ts'
import { SimulatedScreen } from './simulated-screen.ts'
import { SimulatedShares } from './simulated-shares.ts'
import { SimulatedThreads } from './simulated-threads.ts'
import { SimulatedVcpus } from './simulated-vcpus.ts'

const saveSteps = 4
const savedMemoryBytes = 4096

export class SimulatedEmulator implements Emulator {
  readonly closed: Promise<EmulatorExit>
  readonly agent: SimulatedAgent
  readonly memory: SimulatedMemory
  readonly threads: SimulatedThreads
  readonly vcpus: SimulatedVcpus
  readonly blocks: SimulatedBlocks
  readonly disks: SimulatedDisks
  readonly nics: SimulatedNics
  readonly screen: SimulatedScreen
  readonly channels: SimulatedChannels
  readonly hostDevices: SimulatedHostDevices
  readonly shares: SimulatedShares
  readonly devices: SimulatedDevices
  readonly #process: EmulatorProcess
  readonly #machine: SimulatedMachine
  readonly #unsubscribe = new Set<() => void>()

  constructor(process: EmulatorProcess, machine: SimulatedMachine) {
    this.#process = process
    this.#machine = machine
    this.agent = new SimulatedAgent(process, machine)
    this.memory = new SimulatedMemory(process, machine)
    this.threads = new SimulatedThreads(process, machine)
    this.vcpus = new SimulatedVcpus(process)
    this.blocks = new SimulatedBlocks(process, machine)
    this.disks = new SimulatedDisks(process)
    this.nics = new SimulatedNics(process)
    this.screen = new SimulatedScreen(process, machine)
    this.channels = new SimulatedChannels(process)
    this.hostDevices = new SimulatedHostDevices(process)
    this.shares = new SimulatedShares(process)
    this.devices = new SimulatedDevices(process)
    this.closed = process.ended
  }

  get record(): EmulatorRecord {
    const { pid, request, startedAt, disks, nics, channels } = this.#process
    return {
      pid,
      startTicks: pid * 100,
      bootId: simulatedBootId,
      cgroup: `/simulated/${request.id}`,
      startedAt,
      qemuVersion: this.#machine.qemuVersion?.join('.') ?? 'unknown',
      plan: {
        ids: {
          ...request.plan.ids,
          ioThreads: [...disks.ioThreads],
          disks: Object.fromEntries(disks.plugged),
          nics: Object.fromEntries(nics.plugged),
          channels: Object.fromEntries(channels.sockets),
        },
      },
    }
  }

  onEvent(listener: (event: EmulatorEvent) => void): () => void {
    const stop = this.#process.onEvent(listener)
    this.#unsubscribe.add(stop)
    return () => {
      stop()
      this.#unsubscribe.delete(stop)
    }
  }

  async runState(): Promise<string> {
    await this.#process.answer()
    return this.#process.runState
  }

  async ioStatus(): Promise<IoStatus> {
    await this.#process.answer()
    const { kind, device: failed } = this.#process.io
    const disks = Object.entries(this.#process.request.plan.ids.disks)
    return { kind, disk: disks.find(([, { device }]) => device === failed)?.[0] }
  }

  async unconnected(): Promise<readonly string[]> {
    await this.#process.answer()
    return this.#machine.unconnected.get(this.#process.request.id) ?? []
  }

  async resume(): Promise<void> {
    await this.#process.answer()
    this.#process.resume()
  }

  async pause(): Promise<void> {
    await this.#process.answer()
    this.#process.pause()
  }

  async reset(): Promise<void> {
    await this.#process.answer()
    this.#process.reset()
  }

  async pressPowerButton(): Promise<void> {
    await this.#process.answer()
    this.#process.pressPowerButton()
  }

  async act(actions: GuestActions): Promise<void> {
    await this.#process.answer()
    this.#machine.actions.set(this.#process.request.id, actions)
  }

  async end(_options: { readonly graceMs: number }): Promise<void> {
    this.#process.dies({ code: 0, signal: undefined })
    await this.release()
  }

  async saveTo(path: string, options: SaveOptions): Promise<void> {
    await this.#process.answer()
    const vmId = vmIdOfSave(path)
    const totalBytes = this.#process.request.memoryBytes
    const wasRunning = this.#process.runState === 'running'
    for (let step = 1; step <= saveSteps; step++) {
      await this.#machine.clock.sleep(this.#machine.stepMs, options.signal)
      options.signal.throwIfAborted()
      const partial = new Uint8Array(Math.ceil((savedMemoryBytes * step) / saveSteps))
      this.#machine.saves.set(vmId, { partial, whole: this.#machine.saves.get(vmId)?.whole })
      if (this.#machine.freeBytes < totalBytes)
        throw new KvasirError('not-enough-space', 'The disk is full, so the memory could not be saved.')
      options.onProgress({ transferredBytes: Math.floor((totalBytes * step) / saveSteps), totalBytes })
    }
    await this.#process.answer()
    if (wasRunning) this.#process.pause()
    this.#process.finishSaving()
  }

  async abandonSave(): Promise<void> {
    await this.#process.answer()
  }

  async vcpuThreads(): Promise<readonly { readonly index: number; readonly threadId: number }[]> {
    await this.#process.answer()
    return this.threads.vcpus()
  }

  async limits(files: readonly string[]): Promise<LimitFiles> {
    const { id, memoryLimits } = this.#process.request
    const { files: shares } = cpuLimits(this.#process.threadPlan?.share ?? {}, undefined)
    const all = { ...memoryLimitFiles(this.#machine.memoryLimits.get(id) ?? memoryLimits ?? {}), ...shares }
    return Object.fromEntries(Object.entries(all).filter(([file]) => files.includes(file)))
  }

  async statistics(): Promise<EmulatorStatistics> {
    await this.#process.answer()
    const seconds = this.#machine.clock.monotonicMs() / 1000
    const { memoryBytes } = this.#process.request
    return {
      residentBytes: Math.floor(memoryBytes / 4),
      swappedBytes: 0,
      plugged: await this.memory.plugged(),
      cpuSeconds: seconds / 10,
      ...this.threads.uses(seconds),
      disks: [...this.#process.disks.plugged.keys()].map((disk) => ({
        disk,
        readBytes: 4096,
        writtenBytes: 8192,
        readRequests: 1,
        writeRequests: 2,
        flushRequests: 1,
      })),
      nics: [],
      balloonBytes: this.#process.balloonBytes,
    }
  }

  async connectSerial(): Promise<Duplex> {
    if (!this.#process.isAlive)
      throw new KvasirError('emulator-unresponsive', 'The emulator does not take the connection.')
    return this.#process.openSerial()
  }

  async release(): Promise<void> {
    for (const stop of this.#unsubscribe) stop()
    this.#unsubscribe.clear()
  }
}

/** The boot of the simulated machine. */
export const simulatedBootId = '00000000-0000-4000-8000-0000b0070000'
