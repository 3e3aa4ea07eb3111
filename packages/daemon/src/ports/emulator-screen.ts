/** The screen of a running emulator and who looks at it. Every call has a time-out, as those of `Emulator` have. */
import type { Duplex } from 'node:stream'

export interface EmulatorScreen {
  /** What is on it, as PNG; `unsupported` without a display, as for all of these. */
  screenshot(): Promise<Uint8Array>
  connectVnc(): Promise<Duplex>
}
