/**
 * What QEMU does by itself when the guest reboots, powers off, panics or hangs.
 *
 * QEMU never exits by itself and never decides alone: it stops and keeps what happened for whoever asks, also when no daemon is
 * connected. The driver carries out the policy (model/vm/lifecycle-decisions.ts). Only a plain reboot needs nobody.
 */
import type { HardwareInput } from './hardware.ts'

/** The arguments for the lifecycle policy. */
export function lifecycleArgs(input: HardwareInput): readonly string[] {
  const { onReboot, onWatchdog } = input.spec.lifecycle
  const reboot = onReboot === 'restart' ? 'reset' : 'shutdown'
  // `poweroff` would make QEMU exit at once and tell nobody; paused, the driver powers it off.
  const watchdog = { reset: 'reset', 'power-off': 'pause', pause: 'pause', none: 'none' }[onWatchdog]
  return ['-S', '-no-shutdown', '-action', `reboot=${reboot},panic=pause,watchdog=${watchdog}`]
}
