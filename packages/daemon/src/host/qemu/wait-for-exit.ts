/** Waiting for the end of a process that is nobody's child here. */
import { setTimeout as pause } from 'node:timers/promises'
import { isAlive, type ProcessIdentity } from '@kvasir/linux'

const lookMs = 10

/** Returns when a process has ended, or after the time. */
export async function waitForExit(process: ProcessIdentity, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline && (await isAlive(process))) await pause(lookMs)
}
