/**
 * The vCPUs of a running emulator: they are plugged and taken away in the order of their slots, so the first ones are always there and
 * the last one goes first.
 *
 * Plugging is QEMU's own doing; whether the guest uses a vCPU, and whether it lets go of one, is the guest's.
 */

export interface VcpuThread {
  readonly index: number
  readonly threadId: number
}

/** What a guest said about a vCPU that was plugged, or that it was asked to let go of. */
export interface VcpuAnswer {
  readonly index: number
  readonly about: 'plug' | 'unplug'
  readonly isDone: boolean
  readonly isRefused: boolean
}

export interface EmulatorVcpus {
  /** How many there are, asked now. */
  count(): Promise<number>
  /** Plugs the next one. `unsupported` when there is no room for another. */
  plug(): Promise<void>
  /**
   * Asks the guest to let go of the last one, and returns at once; safe to repeat. `guest-refused` when nothing in the guest listens to
   * that.
   */
  askForLast(): Promise<void>
}
