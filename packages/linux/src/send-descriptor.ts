/**
 * Hands an open file to the process at the other end of a UNIX socket (SCM_RIGHTS, unix(7)).
 *
 * Takes one short-lived perl, since Node has no call for it. The receiver has a descriptor of its own afterwards; ours may be closed.
 */
import { join } from 'node:path'
import { runCommand } from './run-command.ts'

const program = join(import.meta.dirname, 'send-descriptor.pl')
const timeoutMs = 5_000

/** What is sent: the text, whole, and the file beside its first byte. */
export interface SentDescriptor {
  readonly text: string
  /** The file's descriptor: its number in this process, or in one that has opened it for us. */
  readonly descriptor: number | { readonly pid: number; readonly fd: number }
}

/**
 * Sends over a connected UNIX stream socket, given by its descriptor in this process, on which nobody else writes meanwhile. Throws
 * `CommandError`; part of the text may have been sent then.
 */
export async function sendDescriptor(socket: number, { text, descriptor }: SentDescriptor): Promise<void> {
  const isOurs = typeof descriptor === 'number'
  const owner = isOurs ? [] : [String(descriptor.pid), String(descriptor.fd)]
  await runCommand(['perl', program, process.arch, ...owner], {
    timeoutMs,
    input: text,
    descriptors: isOurs ? [socket, descriptor] : [socket],
  })
}
