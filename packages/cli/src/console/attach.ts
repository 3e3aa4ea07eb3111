/**
 * `kvasir vm console`: this terminal on a VM's serial console.
 *
 * The daemon sends one text message, `hello`, then the scrollback and the live output as bytes, and text messages with notices. Keys go
 * the other way as bytes. Ctrl-] leaves; a stdin that is no terminal is copied to its end, and the output is shown on.
 */
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import { type Client, ConsoleScrollback, type Ending, type MessageSocket } from '@kvasir/sdk'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { printable } from '../output/width.ts'
import { UsageError } from '../usage-error.ts'
import { splitAtDetach } from './detach-key.ts'
import { RawTerminal } from './raw-terminal.ts'

type Mode = 'read' | 'write' | 'take-over'

const ctrlC = 0x03

/** A WebSocket that ended in order. */
const endedNormally = new Set([1000, 1001, 1005])

export const attachConsole: Action = async (context) => {
  const name = context.argument('NAME')
  const left = new AbortController()
  using socket = await openConsole(context.client, { name, mode: modeOf(context), signal: context.signal })
  context.output.message(
    `Connected to the console of VM ${name}.${process.stdin.isTTY ? ' Ctrl-] leaves it.' : ''}`,
  )

  using terminal = new RawTerminal(process.stdin)
  const stopCopying = copyKeys(socket, { canWrite: modeOf(context) !== 'read', leave: () => left.abort() })
  const ending = await Promise.race([
    showMessages(context, socket),
    whenAborted(left.signal),
    whenAborted(context.signal),
  ])
  stopCopying()
  terminal[Symbol.dispose]()

  context.signal.throwIfAborted()
  if (ending === undefined) context.output.message(`\nLeft the console of VM ${name}; the VM goes on.`)
  else if (endedNormally.has(ending.code))
    context.output.message(`\nThe console of VM ${name} has ended: ${printable(ending.reason) || 'closed'}`)
  else
    throw new KvasirError('unreachable', `The connection to the console of VM ${name} broke; the VM goes on.`)
  return undefined
}

function modeOf(context: Context): Mode {
  if (context.has('read-only') && context.has('take-over')) {
    throw new UsageError('--read-only and --take-over exclude each other.', 'Keep one of them.')
  }
  if (context.has('read-only')) return 'read'
  return context.has('take-over') ? 'take-over' : 'write'
}

async function openConsole(
  client: Client,
  { name, mode, signal }: { readonly name: string; readonly mode: Mode; readonly signal: AbortSignal },
): Promise<MessageSocket> {
  try {
    const { ticket, url } = await client.call(routes.consoleTicket, {
      params: { name },
      body: { mode },
      signal,
    })
    return await client.openStream(url, url.includes('ticket=') ? { signal } : { ticket, signal })
  } catch (error) {
    if (!(error instanceof KvasirError) || error.code !== 'console-taken') throw error
    throw new KvasirError(error.code, `${error.message} Watch with --read-only, or write with --take-over.`, {
      details: error.details,
    })
  }
}

/** Shows what comes until the connection ends. */
async function showMessages({ output }: Context, socket: MessageSocket): Promise<Ending> {
  const messages = socket.messages()
  const scrollback = new ConsoleScrollback()
  while (true) {
    const next = await messages.next()
    if (next.done) return next.value
    const message = next.value
    if (message.kind === 'bytes') output.stdout.write(scrollback.show(message.bytes))
    else {
      scrollback.noteText(message.text)
      const notice = noticeOf(message.text)
      if (notice !== undefined) output.message(`\r\n[kvasir: ${printable(notice)}]\r`)
    }
  }
}

/** The words of a notice; undefined for the hello and for what a newer daemon may say. */
export function noticeOf(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('kind' in value) || value.kind !== 'notice')
      return undefined
    return 'text' in value && typeof value.text === 'string' ? value.text : undefined
  } catch {
    return undefined
  }
}

/** Sends what is typed, no faster than the daemon takes it; gives a function that stops it. */
function copyKeys(
  socket: MessageSocket,
  { canWrite, leave }: { readonly canWrite: boolean; readonly leave: () => void },
): () => void {
  const { stdin } = process
  const send = async (bytes: Buffer): Promise<void> => {
    stdin.pause()
    try {
      await socket.send(bytes)
      stdin.resume()
    } catch {
      // The connection has ended; showMessages says so.
    }
  }
  const onData = (bytes: Buffer): void => {
    const { forGuest, detached } = stdin.isTTY ? splitAtDetach(bytes) : { forGuest: bytes, detached: false }
    if (detached || (!canWrite && stdin.isTTY && bytes.includes(ctrlC))) leave()
    if (canWrite && forGuest.length > 0) void send(forGuest)
  }
  stdin.on('data', onData)
  return () => {
    stdin.off('data', onData)
    stdin.pause()
  }
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  if (signal.aborted) resolve(undefined)
  else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  return promise
}
