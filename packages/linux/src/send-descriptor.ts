/**
 * Hands an open file to the process at the other end of a UNIX socket (SCM_RIGHTS, unix(7)).
 *
 * A file of ours is sent by this process where that can be (ffi/send-message.ts). Else one short-lived perl does it: it may wait for a
 * socket that is full, and may close what another process has opened for us, which takes for ever where a file server hangs. The
 * receiver has a descriptor of its own afterwards; ours may be closed.
 */
import { join } from 'node:path'
import { sendMessage } from './ffi/send-message.ts'
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
 * when it does not go, `CommandError` most of the time; part of the text may have been sent then.
 */
export async function sendDescriptor(socket: number, sent: SentDescriptor): Promise<void> {
  if (typeof sent.descriptor === 'number') {
    const text = Buffer.from(sent.text)
    const bytes = sendMessage(socket, text, sent.descriptor)
    if (bytes === text.length) return
    if (bytes !== undefined) throw new Error(`Only ${bytes} of ${text.length} bytes went with a descriptor.`)
  }
  await sendByProcess(socket, sent)
}

/** The same by a process of its own. */
export async function sendByProcess(socket: number, { text, descriptor }: SentDescriptor): Promise<void> {
  const isOurs = typeof descriptor === 'number'
  const owner = isOurs ? [] : [String(descriptor.pid), String(descriptor.fd)]
  await runCommand(['perl', program, process.arch, ...owner], {
    timeoutMs,
    input: text,
    descriptors: isOurs ? [socket, descriptor] : [socket],
  })
}
