/** The channels of a running emulator, by the names of its spec. Coming and going can be done again after it was interrupted anywhere. */
import type { Duplex } from 'node:stream'
import type { ChannelPlan } from '../model/qemu/channels.ts'

/** What happened to a channel's port. */
export interface ChannelAnswer {
  /** The id of the device that it is about: `channel-app-port`. */
  readonly device: string
  /** It is gone; else the emulator did not take it away. */
  readonly isGone: boolean
}

export interface EmulatorChannels {
  /** Whether a program of the guest has it open, as far as the emulator said. */
  isOpen(name: string): boolean
  /** Connects to one; `console-taken` when somebody else is and does not go. What is written waits until the guest reads it. */
  connect(name: string): Promise<Duplex>
  /** Makes the socket and the port, unless the port is there. On failure it takes back what it made. */
  plug(plan: ChannelPlan): Promise<void>
  /** Those of the channels that the guest has. */
  present(names: readonly string[]): Promise<readonly string[]>
  /** Takes the port from the guest, which is not asked; safe to repeat. */
  askFor(name: string): Promise<void>
  /** Removes what is left of one whose port is gone: who is connected is sent away; safe to repeat. */
  remove(name: string): Promise<void>
}
