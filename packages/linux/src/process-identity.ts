/**
 * Which process is meant: a pid is reused, so an identity is pid, start time in clock ticks since boot (field 22 of /proc/PID/stat)
 * and the boot's id. Two processes never share all three.
 */
import { readFile } from 'node:fs/promises'
import { readProcessStat } from './proc.ts'

/** A process, for as long as it or the record of it lives. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks between boot and the process's start; `exec` does not change it. */
  readonly startTicks: number
  readonly bootId: string
}

/** The id of the current boot of the kernel. */
export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}

/** The identity of the process that has this pid now, or undefined when there is none. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  const [stat, bootId] = await Promise.all([readProcessStat(pid), readBootId()])
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks, bootId }
}

/** Whether that very process still runs. A zombie, dead but not yet reaped, does not. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const [stat, bootId] = await Promise.all([readProcessStat(identity.pid), readBootId()])
  if (stat === undefined || bootId !== identity.bootId) return false
  return stat.startTicks === identity.startTicks && stat.state !== 'Z' && stat.state !== 'X'
}

/** Waits until the process is gone. Returns whether it is; false when the time passed first. */
export async function waitUntilGone(
  identity: ProcessIdentity,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<boolean> {
  const deadline = performance.now() + options.timeoutMs
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    options.signal?.throwIfAborted()
    if (!(await isAlive(identity))) return true
    if (performance.now() >= deadline) return false
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
