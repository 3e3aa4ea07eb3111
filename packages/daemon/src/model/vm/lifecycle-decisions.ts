/**
 * What the driver does when something happens to a guest or its emulator, by the VM's lifecycle policy.
 *
 * Events are hints and may be lost, so every decision can also be made from what QEMU says of itself (`query-status`): QEMU runs
 * with -no-shutdown and panic=pause (model/qemu/lifecycle.ts), stops at whatever happens, and keeps it until somebody asks.
 *
 * Not here: carrying a decision out (supervisor, services/vms).
 */
import type { VmSpec } from '@kvasir/contract'
import { type RunStateContext, type StateAndReason, stateFromRunState } from './run-state.ts'

type Lifecycle = VmSpec['lifecycle']

/** What happened. The kinds of events are those of ports/emulators.ts. */
export type Happening =
  | { readonly kind: 'shutdown'; readonly byGuest: boolean; readonly reason: string }
  | { readonly kind: 'reset'; readonly byGuest: boolean }
  | { readonly kind: 'panicked' }
  | { readonly kind: 'watchdog'; readonly action: string }
  /** The process has ended. `code` and `signal` are undefined when it was adopted and its exit went to somebody else. */
  | { readonly kind: 'exited'; readonly code: number | undefined; readonly signal: string | undefined }
  /** What QEMU answers to `query-status`, on connecting and from time to time. */
  | { readonly kind: 'run-state'; readonly runState: string; readonly context?: RunStateContext }

/** What is known about the VM when it happened. */
export interface Circumstances {
  readonly lifecycle: Lifecycle
  /** That a stop was asked for: then nothing restarts the VM. */
  readonly stopAsked: boolean
  /** How often the VM was restarted by policy within `restartWindowSeconds`. */
  readonly recentRestarts: number
}

/** What to do. A reason is a clause for the status: `shutoff: the guest powered itself off`. */
export type Decision =
  /** Nothing changes; a reason, if any, is for the log. */
  | { readonly kind: 'none'; readonly reason: string | undefined }
  /** The guest goes on as it is, and its status says why it is so. */
  | { readonly kind: 'note'; readonly reason: string }
  /** The VM is in this state now; the emulator stays. */
  | ({ readonly kind: 'report' } & StateAndReason)
  /** End the emulator if it still runs; then the VM is in this state. */
  | { readonly kind: 'end'; readonly state: 'shutoff' | 'crashed'; readonly reason: string }
  /** End the emulator if it still runs; then start the VM again. */
  | { readonly kind: 'restart'; readonly reason: string }

/** More restarts by policy than this within the window, and the VM stays off: it would only go on falling over. */
export const mostRestarts = 5
/** The window in which restarts by policy are counted, in seconds. */
export const restartWindowSeconds = 300

/** Decides what follows from a happening. */
export function decide(happening: Happening, circumstances: Circumstances): Decision {
  switch (happening.kind) {
    case 'shutdown':
      return afterShutdown(happening, circumstances)
    case 'reset':
      return { kind: 'none', reason: happening.byGuest ? 'the guest rebooted' : 'it was reset' }
    case 'panicked':
      return afterPanic(circumstances)
    case 'watchdog':
      return afterWatchdog(happening.action, circumstances)
    case 'exited':
      return afterExit(happening, circumstances)
    case 'run-state':
      return afterRunState(happening.runState, happening.context ?? {}, circumstances)
  }
}

function afterShutdown(
  { byGuest, reason }: { readonly byGuest: boolean; readonly reason: string },
  circumstances: Circumstances,
): Decision {
  const { lifecycle, stopAsked } = circumstances
  if (stopAsked) return end('shutoff', 'it was shut down on request')
  if (reason === 'guest-reset') return end('shutoff', 'the guest rebooted, which powers this VM off')
  if (reason === 'guest-panic') return afterPanic(circumstances)
  if (!byGuest) return end('shutoff', hostReasons[reason] ?? 'the emulator was told to end')
  const what = 'the guest powered itself off'
  return lifecycle.onPowerOff === 'restart' ? restart(what, circumstances) : end('shutoff', what)
}

const hostReasons: Readonly<Record<string, string>> = {
  'host-signal': 'the emulator was told to end by a signal',
  'host-qmp-quit': 'the emulator was told to end through its monitor',
  'host-error': 'the emulator met an error of the host',
}

function afterPanic(circumstances: Circumstances): Decision {
  const reason = "the guest's kernel panicked"
  if (circumstances.stopAsked) return end('crashed', reason)
  switch (circumstances.lifecycle.onPanic) {
    case 'pause':
      return { kind: 'report', state: 'paused', reason }
    case 'stop':
      return end('crashed', reason)
    case 'restart':
      return restart(reason, circumstances)
  }
}

/** QEMU has reset the guest already, or paused it, or done nothing (model/qemu/lifecycle.ts). */
function afterWatchdog(action: string, { lifecycle, stopAsked }: Circumstances): Decision {
  const reason = "the guest's watchdog fired"
  if (action === 'reset') return { kind: 'note', reason: `${reason}, and the guest was reset` }
  if (action === 'none') return { kind: 'note', reason: `${reason}, and nothing was done` }
  if (stopAsked || lifecycle.onWatchdog === 'power-off') return end('shutoff', reason)
  return { kind: 'report', state: 'paused', reason }
}

function afterExit(
  { code, signal }: { readonly code: number | undefined; readonly signal: string | undefined },
  circumstances: Circumstances,
): Decision {
  if (circumstances.stopAsked) return end('shutoff', 'it was powered off')
  const how = exitReason({ code, signal })
  return circumstances.lifecycle.onCrash === 'restart' ? restart(how, circumstances) : end('crashed', how)
}

/** How an emulator ended, as a clause: `the emulator was killed by SIGKILL`. */
function exitReason(exit: {
  readonly code: number | undefined
  readonly signal: string | undefined
}): string {
  if (exit.signal === 'SIGSYS')
    return 'the emulator was killed by SIGSYS: it made a call that its sandbox forbids'
  if (exit.signal !== undefined) return `the emulator was killed by ${exit.signal}`
  if (exit.code !== undefined) return `the emulator ended by itself with exit code ${exit.code}`
  return 'the emulator is gone'
}

function afterRunState(runState: string, context: RunStateContext, circumstances: Circumstances): Decision {
  if (runState === 'guest-panicked') return afterPanic(circumstances)
  if (runState === 'watchdog') return afterWatchdog('pause', circumstances)
  if (runState === 'shutdown') return afterSilentShutdown(circumstances)
  return { kind: 'report', ...stateFromRunState(runState, context) }
}

/** The emulator stands at `shutdown` and nobody saw why: with `onReboot: power-off` it may have been a reboot. */
function afterSilentShutdown(circumstances: Circumstances): Decision {
  if (circumstances.lifecycle.onReboot === 'power-off' && !circumstances.stopAsked) {
    return end('shutoff', 'the guest powered itself off or rebooted')
  }
  return afterShutdown({ byGuest: true, reason: 'guest-shutdown' }, circumstances)
}

function end(state: 'shutoff' | 'crashed', reason: string): Decision {
  return { kind: 'end', state, reason }
}

function restart(reason: string, { recentRestarts }: Circumstances): Decision {
  if (recentRestarts < mostRestarts) return { kind: 'restart', reason }
  return end(
    'crashed',
    `${reason}, after ${mostRestarts} restarts within ${restartWindowSeconds / 60} minutes`,
  )
}
