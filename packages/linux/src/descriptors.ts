/**
 * Descriptors that this process was born with.
 *
 * Node opens everything close-on-exec, but what a parent left open on purpose or by mistake (a shell's `exec 251>pipe`, a service
 * manager) passes through Node into every child. A program in a jail must not get such a gift.
 */
import { closeSync, readdirSync, readFileSync } from 'node:fs'

/** O_CLOEXEC as /proc/PID/fdinfo shows it, in octal, on every architecture that Linux gives it this value (all but SPARC, Alpha, PA-RISC). */
const CLOSE_ON_EXEC = 0o2000000

/** The descriptors above 2 of this process that a child would inherit. Synchronous: the answer is only true for this instant. */
export function inheritableDescriptors(): readonly number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => fd > 2 && isInheritable(fd))
}

/** Closes the descriptors above 2 that this process was born with. Call it before anything that was passed on purpose is lost. */
export function closeInheritedDescriptors(): readonly number[] {
  const closed = inheritableDescriptors()
  for (const fd of closed) closeSync(fd)
  return closed
}

function isInheritable(fd: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
    return flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0
  } catch {
    return false // The directory's own descriptor, closed meanwhile.
  }
}
