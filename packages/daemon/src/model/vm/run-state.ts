/**
 * QEMU's run states in our words (QEMU: qapi/run-state.json, RunState; the same sixteen in 7.2 and 10.0).
 *
 * QEMU's answer outranks what the store says. A word that is not in the table is `unknown`, never `shutoff`.
 */
import type { VmState } from '@kvasir/contract'

/** A state and why. The reason is a clause: `paused: the guest's kernel panicked`. */
export interface StateAndReason {
  readonly state: VmState
  readonly reason: string
}

/** What else is known when a run state is read. */
export interface RunStateContext {
  /** The disk or node that an I/O error struck, and whether for want of space. */
  readonly ioError?: { readonly disk: string | undefined; readonly noSpace: boolean }
}

const table = {
  running: { state: 'running', reason: 'the guest runs' },
  paused: { state: 'paused', reason: 'it was paused' },
  prelaunch: { state: 'starting', reason: 'the emulator stands before the first instruction' },
  inmigrate: { state: 'starting', reason: 'its saved memory is being read' },
  'restore-vm': { state: 'starting', reason: 'its saved memory is being read' },
  'finish-migrate': { state: 'stopping', reason: 'its memory is being saved' },
  'save-vm': { state: 'stopping', reason: 'its memory is being saved' },
  postmigrate: { state: 'paused', reason: 'its memory was saved, and the emulator still has it' },
  shutdown: { state: 'stopping', reason: 'the guest is off, and the emulator is about to end' },
  suspended: { state: 'paused', reason: 'the guest suspended itself to memory' },
  'guest-panicked': { state: 'paused', reason: "the guest's kernel panicked" },
  watchdog: { state: 'paused', reason: "the guest's watchdog fired" },
  'io-error': { state: 'paused', reason: 'io-error' },
  'internal-error': { state: 'paused', reason: 'internal-error: the accelerator could not go on' },
  debug: { state: 'paused', reason: 'a debugger holds the guest' },
  colo: { state: 'paused', reason: 'the emulator is kept in step with another' },
} as const satisfies Record<string, StateAndReason>

/** The run states of QEMU that are known. */
export type RunState = keyof typeof table

/** Whether a word of QEMU is a run state that is known. */
function isRunState(word: string): word is RunState {
  return Object.hasOwn(table, word)
}

/** The state and reason that a run state of QEMU means. */
export function stateFromRunState(runState: string, context: RunStateContext = {}): StateAndReason {
  if (!isRunState(runState)) {
    return {
      state: 'unknown',
      reason: `the emulator says ${JSON.stringify(runState.slice(0, 40))}, which is not a known run state`,
    }
  }
  if (runState === 'io-error') return { state: 'paused', reason: ioErrorReason(context.ioError) }
  return table[runState]
}

function ioErrorReason(error: RunStateContext['ioError']): string {
  if (error === undefined) return 'io-error, a disk did not take a request'
  const what = error.disk === undefined ? 'a disk' : `disk ${error.disk}`
  return error.noSpace ? `io-error, no space left under ${what}` : `io-error, ${what} did not take a request`
}
