/**
 * The states of a VM and what may be done in each: one table, by which the daemon refuses and every face explains.
 *
 * `unknown` means that the emulator may be running but cannot be asked; nothing is started from it.
 */
import { z } from 'zod'

export const vmStates = [
  'shutoff',
  'starting',
  'running',
  'paused',
  'stopping',
  'saved',
  'crashed',
  'unknown',
] as const

export const vmState = z.enum(vmStates)
export type VmState = (typeof vmStates)[number]

/** The actions on a VM, each with the states in which it is allowed. */
export const vmActions = {
  start: ['shutoff', 'crashed', 'saved'],
  shutdown: ['running'],
  'power-off': ['running', 'paused', 'stopping', 'unknown'],
  reset: ['running', 'paused'],
  reboot: ['running'],
  pause: ['running'],
  resume: ['paused'],
  save: ['running', 'paused'],
  memory: ['running'],
  rename: ['shutoff', 'crashed', 'saved', 'running', 'paused'],
  clone: ['shutoff', 'crashed'],
  snapshot: ['shutoff', 'crashed', 'running', 'paused'],
  revert: ['shutoff', 'crashed', 'saved', 'running', 'paused'],
  merge: ['shutoff', 'crashed', 'saved', 'running', 'paused', 'stopping'],
  delete: ['shutoff', 'crashed', 'saved'],
  'discard-saved': ['saved'],
  screenshot: ['running', 'paused', 'stopping'],
  exec: ['running'],
  'send-keys': ['running'],
  console: ['running', 'paused', 'stopping', 'starting'],
} as const satisfies Record<string, readonly VmState[]>

export type VmAction = keyof typeof vmActions

/** Whether an action is allowed in a state. */
export function isActionAllowed(action: VmAction, state: VmState): boolean {
  const allowed: readonly VmState[] = vmActions[action]
  return allowed.includes(state)
}
