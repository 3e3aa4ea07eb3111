/**
 * Drivers: the one writer of each VM. A use-case asks a driver for its seat; only who sits may change the VM, and only one sits at a
 * time. Looking never waits.
 */
import type { VmAction, VmState } from '@kvasir/contract'
import type { GuestReport, HeldMemory } from './emulator-memory.ts'
import type { Emulator, EmulatorEvent, EmulatorExit, EmulatorStatistics } from './emulators.ts'
import type { Durability, VmLife, VmRecord } from './store.ts'

/** What is known of the guest without asking it now. */
export interface GuestView {
  readonly agent: 'connected' | 'absent'
  readonly hostname: string | undefined
  readonly os: string | undefined
  readonly interfaces: readonly { name: string; mac: string | undefined; addresses: readonly string[] }[]
  /** What the agent last said of the guest's memory. */
  readonly memory?: GuestReport | undefined
}

/** A VM as it stands at this moment. */
export interface VmView {
  readonly record: VmRecord
  readonly emulator: Emulator | undefined
  /** The action that holds the seat. */
  readonly busyWith: string | undefined
  /** The job that holds the seat. */
  readonly jobId: string | undefined
  readonly statistics: EmulatorStatistics | undefined
  readonly guest: GuestView | undefined
  readonly held: HeldMemory | undefined
}

/** The right to change one VM, held for the length of one action. */
export interface Seat {
  readonly record: VmRecord
  readonly emulator: Emulator | undefined
  /** Aborted when a stronger action (power-off) wants the seat, or the daemon leaves. */
  readonly signal: AbortSignal
  /**
   * Writes a change of the row, and what `alongside` writes, in one transaction. A change of `life.state` or its reason becomes an
   * event. `durability` as in `Store.transaction`.
   */
  update(
    change: Partial<Omit<VmRecord, 'id' | 'createdAt'>>,
    alongside?: () => void,
    durability?: Durability,
  ): void
  /** The life of a state that begins now. */
  life(state: VmState, reason: string, exit?: VmLife['exit']): VmLife
  /** Follows a running emulator from now on. */
  attach(emulator: Emulator): void
  /** Stops following; the emulator is somebody else's or gone. */
  detach(): void
}

export interface TakeOptions {
  /** Ends an action that holds the seat instead of being refused. */
  readonly preempt?: boolean
  readonly jobId?: string
}

export interface Driver {
  readonly id: string
  view(): VmView
  /** Takes the seat for an action: `wrong-state` when the table forbids it, `busy` when a long action holds the seat. */
  take<T>(action: VmAction | 'edit', work: (seat: Seat) => Promise<T>, options?: TakeOptions): Promise<T>
  /** Throws what `take` would throw at this moment: `wrong-state` or `busy`. */
  requireAllowed(action: VmAction): void
  /** Waits until the state is one of those wanted. */
  until(
    states: readonly VmState[],
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<VmState>
  /** Asks the emulator for its state now. */
  reconcile(): Promise<void>
  /** Takes the seat whatever the state and phase: for recovery alone. */
  recover(work: (seat: Seat) => Promise<void>): Promise<void>
  /** Remembers what was last seen of a running VM; forgotten when its emulator goes. */
  remember(seen: {
    readonly statistics?: EmulatorStatistics
    readonly guest?: GuestView
    readonly held?: HeldMemory
  }): void
}

/** What an emulator did or should be asked. */
export type Observation =
  | { readonly kind: 'event'; readonly event: EmulatorEvent }
  | { readonly kind: 'ended'; readonly exit: EmulatorExit }
  | { readonly kind: 'check' }

/** Decides and does what follows from an observation, in a turn of the VM's queue. */
export type Settle = (seat: Seat, observation: Observation) => Promise<void>

export interface Drivers {
  /** The driver of a VM by name; `vm-not-found`. */
  find(name: string): Driver
  get(id: string): Driver | undefined
  list(): readonly Driver[]
  /** Begins to drive a VM whose row was just made. */
  add(record: VmRecord): Driver
  /** Ceases to drive a VM whose row is gone. */
  remove(id: string): void
}
