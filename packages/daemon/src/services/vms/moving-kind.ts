/**
 * What devices of one kind have to say about coming to a guest that runs and leaving it. What is the same for all of them is in
 * set-moving.ts (one after another), take-away.ts (the guest is asked) and moving-job.ts (the job, and the next daemon's).
 */
import type { VmSpec } from '@kvasir/contract'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator, EmulatorEvent } from '../../ports/emulators.ts'
import type { FailpointName } from '../../ports/failpoints.ts'
import type { HostFacts } from '../../ports/host-facts.ts'
import type { VmRun } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { MovingAnswers } from './moving-answers.ts'
import type { MovingField } from './names-to-move.ts'

export interface MovingKind {
  readonly job: 'vm.set-nics' | 'vm.set-host-devices' | 'vm.set-channels' | 'vm.set-shares' | 'vm.set-devices'
  /** `NIC`. */
  readonly noun: string
  /** The words of the CLI by which one is taken out of a VM's spec: `nic remove web1 lan`. */
  readonly takeOut: (vm: string, name: string) => string
  readonly field: Exclude<MovingField, 'movingDisks'>
  /** The event by which a guest answers. */
  readonly event: 'nic' | 'host-device' | 'channel' | 'share' | 'device'
  /** What bringing one may take, which no guest has a say in. */
  readonly bringMs: number
  readonly points: {
    readonly beforeAsk: FailpointName
    readonly afterAsk: FailpointName
    readonly afterRelease: FailpointName
    readonly afterRemove: FailpointName
  }
  names(spec: VmSpec): readonly string[]
  /** The id of its device in the emulator. */
  idOf(name: string): string
  /** What the emulator can do with those of this kind. */
  part(emulator: Emulator): {
    present(names: readonly string[]): Promise<readonly string[]>
    askFor(name: string): Promise<void>
  }
  /** Brings what the spec has, in one turn in the seat, and writes that down. Safe to repeat. Answers what came of it. */
  bring(seat: Seat, name: string, task: MovingTask): Promise<string>
  /** Removes what is left of one that the guest has let go of; safe to repeat. */
  remove(seat: Seat, emulator: Emulator, name: string): Promise<void>
  /** Whether a guest that was started on this host may never have had one that its spec has. */
  mayLack?(name: string, host: HostFacts): boolean
  /** The run without it. */
  without(run: VmRun, gone: { readonly name: string; readonly emulator: VmRun['emulator'] }): VmRun
}

export interface MovingWork {
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
}

export interface MovingTask extends MovingWork, Pick<Context, 'ports' | 'networks' | 'drivers'> {
  readonly kind: MovingKind
  readonly driver: Driver
  readonly emulator: Emulator
  readonly answers: MovingAnswers
  /** A turn in the seat, for as long as the VM runs. */
  readonly inSeat: <T>(work: (seat: Seat) => Promise<T>) => Promise<T>
}

/** What a guest said of a device of this kind. */
export function answerIn({ event: wanted }: Pick<MovingKind, 'event'>, event: EmulatorEvent) {
  switch (event.kind) {
    case 'nic':
    case 'host-device':
    case 'channel':
    case 'share':
    case 'device':
      return event.kind === wanted ? event.answer : undefined
    default:
      return undefined
  }
}

/** As a sentence begins. */
export function capital(noun: string): string {
  return noun.charAt(0).toUpperCase() + noun.slice(1)
}
