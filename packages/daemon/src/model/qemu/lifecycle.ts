/**
 * What QEMU does by itself when the guest reboots, powers off, panics or hangs.
 *
 * QEMU never exits by itself and never decides alone: it stops and keeps what happened for whoever asks, also when no daemon is
 * connected. The driver carries out the policy (model/vm/lifecycle-decisions.ts). Only a plain reboot needs nobody.
 */
import type { VmSpec } from '@kvasir/contract'
import type { HardwareInput } from './hardware.ts'

/** What QEMU does by itself when the guest reboots, and when its watchdog fires. */
export interface GuestActions {
  readonly reboot: 'reset' | 'shutdown'
  readonly watchdog: 'reset' | 'pause' | 'none'
}

/** The actions that a spec means. */
export function actionsOf({ lifecycle }: Pick<VmSpec, 'lifecycle'>): GuestActions {
  const { onReboot, onWatchdog } = lifecycle
  return {
    reboot: onReboot === 'restart' ? 'reset' : 'shutdown',
    // `poweroff` would make QEMU exit at once and tell nobody; paused, the driver powers it off.
    watchdog: onWatchdog === 'power-off' ? 'pause' : onWatchdog,
  }
}

/** The arguments for the lifecycle policy. */
export function lifecycleArgs({ spec }: HardwareInput): readonly string[] {
  const { reboot, watchdog } = actionsOf(spec)
  return ['-S', '-no-shutdown', '-action', `reboot=${reboot},panic=pause,watchdog=${watchdog}`]
}
