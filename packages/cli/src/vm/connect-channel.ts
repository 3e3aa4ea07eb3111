/**
 * `kvasir vm channel connect`: stdin and stdout on a channel of a VM, byte for byte, no faster than either side takes them. A guest that closes its
 * end is not told of by the channel, so what ends it is Ctrl-C, the VM's end, or a while after the end of stdin.
 */
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Ending, MessageSocket } from '@kvasir/sdk'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { printable } from '../output/width.ts'

/** A WebSocket that ended in order. */
const endedNormally = new Set([1000, 1001, 1005])

export const connectChannel: Action = async (context) => {
  const { client, output, signal } = context
  const [name, channel] = [context.argument('NAME'), context.argument('CHANNEL')]
  const lingerMs = milliseconds(context.number('linger'))
  const { url } = await client.call(routes.channelTicket, { params: { name, channel }, signal })
  using socket = await client.openStream(url, { signal })
  output.message(`Connected to channel ${channel} of VM ${name}.`)

  const left = new AbortController()
  const until = AbortSignal.any([signal, left.signal])
  const sent = sendInput(socket, { lingerMs, signal: until })
  try {
    const ending = await Promise.race([showOutput(context, socket), sent, aborted(until)])
    signal.throwIfAborted()
    if (ending === undefined) return undefined
    if (!endedNormally.has(ending.code))
      throw new KvasirError('unreachable', `The connection to channel ${channel} of VM ${name} broke.`)
    output.message(`Channel ${channel} of VM ${name} has ended: ${printable(ending.reason) || 'closed'}`)
    return undefined
  } finally {
    left.abort()
    process.stdin.destroy()
    await sent
  }
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000
}

/** Sends stdin to its end; passes a while later, or never. */
async function sendInput(
  socket: MessageSocket,
  { lingerMs, signal }: { readonly lingerMs: number | undefined; readonly signal: AbortSignal },
): Promise<undefined> {
  try {
    for await (const bytes of process.stdin) await socket.send(bytes)
    if (lingerMs === undefined) await aborted(signal)
    else await pause(lingerMs, undefined, { signal })
  } catch {
    // Left, or the connection has ended; showOutput says which.
    await aborted(signal)
  }
  return undefined
}

async function showOutput({ output }: Context, socket: MessageSocket): Promise<Ending> {
  const messages = socket.messages()
  for (;;) {
    const next = await messages.next()
    if (next.done) return next.value
    if (next.value.kind !== 'bytes') continue
    if (!output.stdout.write(next.value.bytes)) await once(process.stdout, 'drain')
  }
}

async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await once(signal, 'abort')
  return undefined
}
