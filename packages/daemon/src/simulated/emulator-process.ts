/**
 * A simulated QEMU process with a small guest inside: what lives on when the daemon does not.
 *
 *     prelaunch ──resume──▶ running ◀──resume── paused, io-error, guest-panicked
 *                              │ ╲────pause──────▲
 *                              ├──guest powers off──▶ shutdown      (QEMU stays: -no-shutdown)
 *                              └──saving──▶ postmigrate
 *     ended ◀── quit, kill or its own death, from any state
 *
 * Methods that begin with `guest` and those of the last section are for tests.
 */
import { type Duplex, duplexPair } from 'node:stream'
import { KvasirError } from '@kvasir/contract'
import type { ThreadPlan } from '../model/placement/plan-threads.ts'
import type { EmulatorEvent, EmulatorExit, LaunchRequest } from '../ports/emulators.ts'
import { GuestChannels } from './guest-channels.ts'
import { GuestDisks } from './guest-disks.ts'
import { GuestNics } from './guest-nics.ts'
import { GuestShares } from './guest-shares.ts'
import type { SimulatedMachine } from './machine.ts'
import { startedChains } from './simulated-blocks.ts'
import { GuestDevices } from './simulated-devices.ts'
import { GuestHostDevices } from './simulated-host-devices.ts'

export class EmulatorProcess {
  readonly request: LaunchRequest
  readonly pid: number
  readonly startedAt: string
  readonly #end = Promise.withResolvers<EmulatorExit>()
  /** Settles when the process has ended. */
  readonly ended: Promise<EmulatorExit> = this.#end.promise
  readonly #machine: SimulatedMachine
  readonly #listeners = new Set<(event: EmulatorEvent) => void>()
  #runState: string
  #exit: EmulatorExit | undefined
  #serial: Duplex | undefined
  #hasBooted = false
  #isMute = false
  #balloonTarget: number

  /** Whether its guest shuts down when the power button is pressed. */
  obeysPowerButton = true
  /** Whether its guest lets go of vCPUs: at once when asked, never, or with a refusal. */
  vcpuRelease: 'willing' | 'silent' | 'refusing' = 'willing'
  readonly disks: GuestDisks
  readonly nics: GuestNics
  readonly hostDevices: GuestHostDevices
  readonly channels: GuestChannels
  readonly shares: GuestShares
  readonly devices: GuestDevices
  hasAgent = true
  agentConnected = false
  io: { kind: 'ok' | 'failed' | 'nospace'; device?: string } = { kind: 'ok' }
  balloonBytes: number
  vcpuCount: number
  requestedBytes = 0
  pluggedBytes = 0
  /** What the guest does not give back, to its balloon or of what is plugged. */
  keepsBytes = 0
  /** Whether its guest holds back what it writes. */
  isFrozen = false
  /** What its disks have open, the top first. */
  readonly chains: Map<string, readonly string[]>
  /** What its threads were last given. */
  threadPlan: ThreadPlan | undefined
  /** Whether KSM was let merge its memory since its start. */
  merges: boolean | undefined

  constructor(machine: SimulatedMachine, request: LaunchRequest) {
    this.#machine = machine
    this.request = request
    this.pid = machine.nextPid()
    this.startedAt = machine.clock.now()
    this.balloonBytes = request.memoryBytes
    this.vcpuCount = request.vcpuCount
    const guest = { later: this.#later.bind(this), tell: this.#tell.bind(this) }
    const all = request.memoryBytes
    this.disks = new GuestDisks(request.plan.ids, guest)
    this.nics = new GuestNics(request.plan, guest)
    this.hostDevices = new GuestHostDevices(guest)
    this.channels = new GuestChannels(request.plan.ids, guest)
    this.shares = new GuestShares(request.plan, guest)
    this.devices = new GuestDevices(request.plan, { ...guest, hasAll: () => this.fillBalloon(all) })
    this.#balloonTarget = request.memoryBytes
    this.threadPlan = request.threads
    this.chains = startedChains(request)
    // QEMU that read saved memory stands paused, any other before its first instruction.
    this.#runState = request.plan.argv.includes('-incoming') ? 'paused' : 'prelaunch'
    this.#hasBooted = this.#runState === 'paused'
  }

  get runState(): string {
    return this.#runState
  }

  get isAlive(): boolean {
    return this.#exit === undefined
  }

  onEvent(listener: (event: EmulatorEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Passes when the monitor answers; `emulator-unresponsive` after a while when it is mute, at once when the process has ended. */
  async answer(): Promise<void> {
    await Promise.resolve()
    if (this.isAlive && !this.#isMute) return
    if (this.isAlive) await this.#machine.clock.sleep(this.#machine.commandTimeoutMs)
    if (this.isAlive && !this.#isMute) return
    throw new KvasirError('emulator-unresponsive', 'The emulator does not answer its monitor.')
  }

  resume(): void {
    if (this.#runState === 'shutdown')
      throw new KvasirError('emulator-failed', 'The emulator refused: resetting the guest is required.')
    if (this.#runState === 'running') return
    this.#become('running', { kind: 'resumed' })
    if (!this.#hasBooted) this.#boot()
  }

  pause(): void {
    if (this.#runState === 'running') this.#become('paused', { kind: 'stopped' })
  }

  reset(): void {
    if (this.#runState === 'shutdown') this.#runState = 'paused'
    this.#restartGuest({ kind: 'reset', byGuest: false })
  }

  pressPowerButton(): void {
    this.#tell({ kind: 'powering-down' })
    if (this.obeysPowerButton && this.#runState === 'running') this.#later(() => this.guestPowersOff())
  }

  /** The guest follows its balloon in a moment. */
  fillBalloon(bytes: number): void {
    this.#balloonTarget = bytes
    this.#later(() => this.#followMemory())
  }

  /** The guest takes or gives back what is asked of it in a moment. */
  requestMemory(bytes: number): void {
    this.requestedBytes = bytes
    this.#later(() => this.#followMemory())
  }

  plugVcpu(): void {
    const answer = { index: this.vcpuCount++, about: 'plug', isDone: true, isRefused: false } as const
    this.#later(() => this.#tell({ kind: 'vcpus', answer }))
  }

  /** Its guest is asked to let go of the last vCPU. */
  askForVcpu(): void {
    const index = this.vcpuCount - 1
    if (this.vcpuRelease !== 'silent') this.#later(() => this.#answerForVcpu(index))
  }

  #answerForVcpu(index: number): void {
    if (index !== this.vcpuCount - 1) return // Asked twice.
    const isRefused = this.vcpuRelease === 'refusing'
    if (!isRefused) this.vcpuCount--
    this.#tell({ kind: 'vcpus', answer: { index, about: 'unplug', isDone: !isRefused, isRefused } })
  }

  /** The vCPUs stop for good: memory was written. */
  finishSaving(): void {
    this.#become('postmigrate', { kind: 'stopped' })
  }

  /** Opens the serial console. A former connection is closed: QEMU serves one at a time. */
  openSerial(): Duplex {
    const [ours, theirs] = duplexPair()
    this.#serial?.destroy()
    this.#serial = ours
    ours.on('error', () => {}) // The watcher went; the guest does not mind.
    ours.on('end', () => ours.destroy())
    ours.on('close', () => {
      if (this.#serial === ours) this.#serial = undefined
    })
    ours.on('data', (typed: Buffer) => {
      if (this.#runState === 'running') this.guestPrints(typed.toString('latin1').replaceAll('\r', '\r\n# '))
    })
    return theirs
  }

  guestPrints(text: string | Uint8Array): void {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text
    this.#serial?.write(bytes)
    this.#machine.appendLog(this.request.id, 'serial', bytes)
  }

  guestPowersOff(): void {
    if (this.#runState !== 'running') return
    this.guestPrints('reboot: Power down\r\n')
    this.#setAgent(false)
    this.#tell({ kind: 'shutdown', byGuest: true, reason: 'guest-shutdown' })
    this.#become('shutdown', { kind: 'stopped' })
  }

  guestReboots(): void {
    if (this.#runState === 'running') this.#restartGuest({ kind: 'reset', byGuest: true })
  }

  guestPanics(): void {
    if (this.#runState !== 'running') return
    this.guestPrints('Kernel panic - not syncing: sysrq triggered crash\r\n')
    this.#setAgent(false)
    this.#tell({ kind: 'panicked', action: 'pause' })
    this.#become('guest-panicked', { kind: 'stopped' })
  }

  guestHangsWatchdog(action: 'reset' | 'pause'): void {
    this.#tell({ kind: 'watchdog', action })
    if (action === 'pause') this.#become('watchdog', { kind: 'stopped' })
  }

  /** A disk of the guest fails; `nospace` means that the pool is full. */
  diskFails(node: string, status: 'failed' | 'nospace'): void {
    this.io = { kind: status, device: node }
    const noSpace = status === 'nospace'
    this.#tell({ kind: 'io-error', node, noSpace, reason: noSpace ? 'No space left on device' : 'I/O error' })
    this.#become('io-error', { kind: 'stopped' })
  }

  agentComes(): void {
    this.#setAgent(true)
  }

  agentGoes(): void {
    this.#setAgent(false)
  }
  /** The monitor no longer answers, as under SIGSTOP. */
  goesMute(): void {
    this.#isMute = true
  }

  speaksAgain(): void {
    this.#isMute = false
  }

  /** The process ends, asked or unasked. */
  dies(end: { readonly code: number | undefined; readonly signal: string | undefined }): void {
    if (this.#exit) return
    const log = Buffer.from(this.#machine.logs.get(this.request.id)?.emulator ?? []).toString()
    this.#exit = { ...end, log }
    this.agentConnected = false
    this.#serial?.destroy()
    this.#end.resolve(this.#exit)
  }

  #boot(): void {
    this.#hasBooted = true
    this.guestPrints('\r\nWelcome to the simulated guest\r\n')
    this.#later(() => {
      this.#followMemory()
      this.guestPrints(`${this.request.name} login: `)
      if (this.hasAgent) this.#setAgent(true)
    })
  }

  #followMemory(): void {
    const balloon = Math.min(this.request.memoryBytes, Math.max(this.#balloonTarget, this.keepsBytes))
    const plugged = Math.max(this.requestedBytes, Math.min(this.keepsBytes, this.pluggedBytes))
    if (balloon !== this.balloonBytes) this.#tell({ kind: 'balloon', actualBytes: balloon })
    if (plugged !== this.pluggedBytes) this.#tell({ kind: 'plugged', bytes: plugged })
    this.balloonBytes = balloon
    this.pluggedBytes = plugged
  }

  #restartGuest(event: EmulatorEvent): void {
    this.#setAgent(false)
    this.io = { kind: 'ok' }
    this.#hasBooted = false
    this.#tell(event)
    if (this.#runState === 'running') this.#boot()
  }

  #setAgent(connected: boolean): void {
    if (this.agentConnected === connected) return
    this.agentConnected = connected
    this.#tell({ kind: 'agent', connected })
  }

  #become(runState: string, event: EmulatorEvent): void {
    this.#runState = runState
    this.#tell(event)
  }

  #tell(event: EmulatorEvent): void {
    if (!this.isAlive || this.#isMute) return
    for (const listener of this.#listeners) listener(event)
  }

  #later(work: () => void): void {
    void this.#machine.clock.sleep(this.#machine.guestMs).then(() => {
      if (this.isAlive && this.#runState === 'running') work()
    })
  }
}
