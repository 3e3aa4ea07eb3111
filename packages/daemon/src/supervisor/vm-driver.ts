/**
 * The driver of one VM: the only writer of its row, its state and its emulator.
 *
 *     shutoff ──start──▶ starting ──▶ running ◀──resume── paused
 *        ▲                  │           │  └────pause───────▲
 *        │                  │           ├──save──▶ stopping ──▶ saved ──start──▶ starting
 *        └── stopping ◀─────┴─shutdown──┘
 *     crashed ◀── the emulator ended unasked, from any state but shutoff and saved
 *     unknown ◀── the emulator may run but does not answer; leaves it when it answers or is known to be gone
 *
 * Transitions by request are made by the use-cases of services/vms, in the seat that `take` gives. Transitions by the guest and by
 * QEMU are made by services/vms/settle.ts, in a turn of the same queue, so between two lines of either nothing else changes the VM.
 *
 * Not here: how QEMU is started (ports/emulators.ts), what a transition does to the host (services/vms), what an observation means
 * (model/vm).
 */
import type { VmAction, VmState } from '@kvasir/contract'
import { isActionAllowed, KvasirError } from '@kvasir/contract'
import type { Clock } from '../ports/clock.ts'
import type { Driver, GuestView, Observation, Seat, Settle, TakeOptions, VmView } from '../ports/drivers.ts'
import type { HeldMemory } from '../ports/emulator-memory.ts'
import type { Emulator, EmulatorStatistics } from '../ports/emulators.ts'
import type { Emit } from '../ports/events.ts'
import type { Log } from '../ports/log.ts'
import type { Durability, Store, VmLife, VmRecord } from '../ports/store.ts'
import { participles } from './action-words.ts'
import { SeatQueue } from './seat-queue.ts'

/** Actions that others do not wait for. */
const longActions: ReadonlySet<string> = new Set([
  'start',
  'save',
  'clone',
  'delete',
  'snapshot',
  'revert',
  'merge',
])

/** Events of one emulator that may wait to be settled; beyond, a check tells what they would have. */
const maxPendingEvents = 16

export interface DriverParts {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly emit: Emit
  readonly settle: Settle
}

export class VmDriver implements Driver {
  readonly #parts: DriverParts
  readonly #queue: SeatQueue
  readonly #stateListeners = new Set<(state: VmState) => void>()
  #record: VmRecord
  #emulator: Emulator | undefined
  #unfollow: (() => void) | undefined
  #statistics: EmulatorStatistics | undefined
  #guest: GuestView | undefined
  #held: HeldMemory | undefined
  #pendingEvents = 0
  #hasMissed = false

  constructor(record: VmRecord, parts: DriverParts) {
    this.#record = record
    this.#parts = parts
    this.#queue = new SeatQueue(() => this.#record.name)
  }

  get id(): string {
    return this.#record.id
  }

  view(): VmView {
    const sitting = this.#queue.sitting
    return {
      record: this.#record,
      emulator: this.#emulator,
      busyWith: sitting?.long ? sitting.label : undefined,
      jobId: sitting?.jobId,
      statistics: this.#statistics,
      guest: this.#guest,
      held: this.#held,
    }
  }

  async take<T>(
    action: VmAction | 'edit',
    work: (seat: Seat) => Promise<T>,
    options: TakeOptions = {},
  ): Promise<T> {
    // The state is looked at twice: at once, so that a hopeless request neither waits nor ends another, and again when the seat is had.
    const { sitting } = this.#queue
    const mayChange = options.preempt ? sitting?.label === 'start' : sitting !== undefined
    if (!mayChange) this.#requireAllowed(action)
    const preempt = (ended: string) =>
      new KvasirError('cancelled', `VM ${this.#record.name}: ${action} ended ${ended}.`)
    const turn = {
      label: action,
      jobId: options.jobId,
      long: longActions.has(action),
      preempt: options.preempt ? preempt : undefined,
    }
    try {
      return await this.#queue.take(turn, async (signal) => {
        this.#requireAllowed(action)
        return await work(this.#seat(signal))
      })
    } finally {
      this.#catchUp()
    }
  }

  requireAllowed(action: VmAction): void {
    if (this.#queue.sitting) this.#queue.requireWay({ label: action, preempt: undefined })
    else this.#requireAllowed(action)
  }

  async until(
    states: readonly VmState[],
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<VmState> {
    const now = this.#record.life.state
    if (states.includes(now)) return now
    const { promise, resolve, reject } = Promise.withResolvers<VmState>()
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)])
    const listener = (state: VmState) => {
      if (states.includes(state)) resolve(state)
    }
    const onAbort = () => reject(signal.reason)
    this.#stateListeners.add(listener)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      signal.throwIfAborted()
      return await promise
    } finally {
      this.#stateListeners.delete(listener)
      signal.removeEventListener('abort', onAbort)
    }
  }

  async reconcile(): Promise<void> {
    await this.#settleSoon({ kind: 'check' })
  }

  async recover(work: (seat: Seat) => Promise<void>): Promise<void> {
    const turn = { label: 'recovery', jobId: undefined, long: true, preempt: undefined }
    await this.#queue.take(turn, (signal) => work(this.#seat(signal)))
    this.#catchUp()
  }

  remember(seen: Parameters<Driver['remember']>[0]): void {
    if (!this.#emulator) return
    if (seen.statistics) this.#statistics = seen.statistics
    if (seen.guest) this.#guest = seen.guest
    if (seen.held) this.#held = seen.held
  }

  /** Lets go of everything without touching the emulator. */
  async leave(reason: Error): Promise<void> {
    await this.#queue.close(reason)
    const emulator = this.#emulator
    this.#detach()
    await emulator?.release()
  }

  #seat(signal: AbortSignal): Seat {
    const now = { record: () => this.#record, emulator: () => this.#emulator }
    return {
      get record() {
        return now.record()
      },
      get emulator() {
        return now.emulator()
      },
      signal,
      update: (change, alongside, durability) => this.#update(change, alongside, durability),
      life: (state, reason, exit) => this.#life(state, reason, exit),
      attach: (emulator) => this.#attach(emulator),
      detach: () => this.#detach(),
    }
  }

  #requireAllowed(action: VmAction | 'edit'): void {
    const { life, name, phase } = this.#record
    if (phase !== 'ready' && action !== 'delete')
      throw new KvasirError('busy', `VM ${name} is being ${phase === 'creating' ? 'created' : 'deleted'}.`)
    if (action === 'edit' || isActionAllowed(action, life.state)) return
    throw new KvasirError(
      'wrong-state',
      `VM ${name} is ${life.state}${life.state === 'unknown' ? ` (${life.reason})` : ''}, so it cannot be ${participles[action]}.`,
      { details: { state: life.state, action } },
    )
  }

  #life(state: VmState, reason: string, exit?: VmLife['exit']): VmLife {
    return { state, reason, since: this.#parts.clock.now(), ...(exit ? { exit } : {}) }
  }

  #update(
    change: Partial<Omit<VmRecord, 'id' | 'createdAt'>>,
    alongside?: () => void,
    durability?: Durability,
  ): void {
    const before = this.#record
    const after: VmRecord = { ...before, ...change }
    const { store, emit, log } = this.#parts
    const { state, reason } = after.life
    const from = before.life.state
    const isNews = from !== state || before.life.reason !== reason
    store.transaction(() => {
      store.vms.update(after)
      if (isNews) emit('vm.state', after.name, { uuid: after.id, from, state, reason })
      alongside?.()
    }, durability)
    this.#record = after
    if (isNews) log.info({ vm: after.name, from, state, reason }, 'a VM has another state')
    if (from !== state) for (const listener of this.#stateListeners) listener(state)
  }

  #attach(emulator: Emulator): void {
    this.#detach()
    this.#emulator = emulator
    const stopEvents = emulator.onEvent((event) => {
      if (event.kind === 'agent') this.#noteAgent(event.connected)
      void this.#settleSoon({ kind: 'event', event })
    })
    let following = true
    void emulator.closed.then((exit) => {
      if (following) void this.#settleSoon({ kind: 'ended', exit })
    })
    this.#unfollow = () => {
      following = false
      stopEvents()
    }
  }

  #detach(): void {
    this.#unfollow?.()
    this.#unfollow = undefined
    this.#emulator = undefined
    this.#statistics = undefined
    this.#guest = undefined
    this.#held = undefined
  }

  #noteAgent(connected: boolean): void {
    if (connected) return
    this.#guest = { agent: 'absent', hostname: undefined, os: undefined, interfaces: [] }
  }

  /** What was not settled because a long action held the seat, or too much waited, is made up for by asking for the state. */
  #catchUp(): void {
    if (!this.#hasMissed || this.#queue.sitting || this.#pendingEvents > 0) return
    this.#hasMissed = false
    void this.#settleSoon({ kind: 'check' })
  }

  async #settleSoon(observation: Observation): Promise<void> {
    if (observation.kind === 'event' && this.#pendingEvents >= maxPendingEvents) {
      this.#hasMissed = true
      return
    }
    this.#pendingEvents++
    const preempt = (ended: string) =>
      new KvasirError(
        'emulator-failed',
        `The emulator of VM ${this.#record.name} ended, and ${ended} with it.`,
      )
    try {
      await this.#queue.take(
        {
          label: 'an observation',
          jobId: undefined,
          long: false,
          preempt: observation.kind === 'ended' ? preempt : undefined,
        },
        (signal) => this.#parts.settle(this.#seat(signal), observation),
      )
    } catch (error) {
      const isBusy = error instanceof KvasirError && error.code === 'busy'
      if (isBusy) this.#hasMissed = true
      const quiet = isBusy || (error instanceof KvasirError && error.code === 'shutting-down')
      if (!quiet)
        this.#parts.log.error(
          { vm: this.#record.name, observation: observation.kind, err: error },
          'settling failed',
        )
    } finally {
      this.#pendingEvents--
      this.#catchUp()
    }
  }
}
