/** The threads of a running emulator: what they get of the host's CPUs, and what they used. */
import type { ThreadPlan } from '../model/placement/plan-threads.ts'

/** What a thread used, and how it is scheduled. */
export interface ThreadUse {
  readonly threadId: number
  readonly cpuSeconds: number
  /** Time in which it could have run and had no CPU. */
  readonly waitSeconds: number
  readonly lastCpu: number
  /** The CPUs that the kernel lets it run on, such as `0-3`. */
  readonly cpus: string
  /** Such as `other`, or `fifo:10` with its priority. */
  readonly policy: string
}

/** Setting and looking at the threads of one emulator. */
export interface EmulatorThreads {
  /**
   * Gives the threads what a plan says, also those that have come since. Safe to repeat. `unsupported` when the kernel forbids the
   * policy. The emulator is asked for its threads before anything is changed, so one that does not answer keeps what it has; with
   * `asKnown` it is not asked, and what it said last is taken for true: for taking back what was just done.
   */
  apply(plan: ThreadPlan, options?: { readonly asKnown?: boolean }): Promise<void>
  /** How the threads differ from a plan, in sentences. */
  inspect(plan: ThreadPlan): Promise<readonly string[]>
}
