/** The channels of a running emulator, by the names of its spec. */
import type { Duplex } from 'node:stream'

export interface EmulatorChannels {
  /** Whether a program of the guest has it open, as far as the emulator said. */
  isOpen(name: string): boolean
  /** Connects to one; `console-taken` when somebody else is and does not go. What is written waits until the guest reads it. */
  connect(name: string): Promise<Duplex>
}
