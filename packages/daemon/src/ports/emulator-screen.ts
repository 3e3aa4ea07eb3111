/** The screen of a running emulator and who looks at it. Every call has a time-out, as those of `Emulator` have. */
import type { Duplex } from 'node:stream'
import type { KeyName } from '@kvasir/contract'

export interface EmulatorScreen {
  /** What is on it, as PNG; `unsupported` without a display, as for all of these. */
  screenshot(): Promise<Uint8Array>
  connectVnc(): Promise<Duplex>
  /** Each channel of SPICE is a connection of its own. */
  connectSpice(): Promise<Duplex>
  /** Sets the password by which channels of SPICE are opened; those that are open stay. */
  setSpicePassword(password: string, options: { readonly lifeSeconds: number }): Promise<void>
  /** Presses keys of the guest's keyboard one after the other, and lets all of them go after a while. Whether the guest saw them is not known. */
  sendKeys(keys: readonly KeyName[], options: { readonly holdMs: number }): Promise<void>
}
