/**
 * `kvasir vm vnc`: a VM's display for a VNC viewer of this machine.
 *
 * The daemon gives a display by WebSocket, for which viewers have no words: this listens on a port and passes on what comes there, each
 * connection with a ticket of its own, until Ctrl-C. RFB without a password is all that the guest's display speaks, so whoever can
 * reach the port sees the screen and can type; by default only this machine can.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { MessageSocket } from '@kvasir/sdk'
import type { Action } from '../command.ts'
import { bridgeDisplay } from '../console/bridge-display.ts'
import type { Context } from '../context.ts'
import { printable } from '../output/width.ts'
import { isLoopback, type ListenAddress, parseListenAddress, writeAddress } from './listen-address.ts'

/** Viewers at one time; more are turned away. */
const maxViewers = 16

export const serveDisplay: Action = async (context) => {
  const name = context.argument('NAME')
  const wanted = parseListenAddress(context.value('listen'))
  const { output, signal } = context
  // Asked for once beforehand: a VM without a display is refused here, not in a viewer.
  const probe = await openDisplay(context, name)
  probe.close()

  const viewers = new Set<Socket>()
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (viewer) => {
    viewers.add(viewer)
    viewer.once('close', () => viewers.delete(viewer))
    void serveViewer(viewer, { context, name })
  })
  server.maxConnections = maxViewers
  const address = await listen(server, wanted)
  try {
    const url = `vnc://${writeAddress(address)}`
    await output.result({ url, ...address }, () => `${url}\n`)
    output.message(`A VNC viewer finds the display of VM ${name} there, until Ctrl-C.`)
    if (!isLoopback(address))
      output.message(`Whoever can reach ${writeAddress(address)} sees it and can type, without a password.`)
    await ended(server, signal)
    signal.throwIfAborted()
  } finally {
    server.close()
    for (const viewer of viewers) viewer.destroy()
  }
  return undefined
}

async function openDisplay({ client, signal }: Context, name: string): Promise<MessageSocket> {
  const { url } = await client.call(routes.vncTicket, { params: { name }, signal })
  return await client.openStream(url, { signal })
}

/** A viewer whose display cannot be had is closed and the reason said here: RFB has no words for it before its handshake. */
async function serveViewer(
  viewer: Socket,
  { context, name }: { readonly context: Context; readonly name: string },
): Promise<void> {
  try {
    viewer.on('error', () => {})
    using display = await openDisplay(context, name)
    if ((await bridgeDisplay(viewer, display)) === 'display')
      context.output.message(`The display of VM ${name} has ended.`)
  } catch (error) {
    viewer.destroy()
    if (context.signal.aborted) return
    const why = error instanceof KvasirError ? error.message : String(error)
    context.output.message(`A viewer was turned away: ${printable(why)}`)
  }
}

async function listen(server: Server, { host, port }: ListenAddress): Promise<ListenAddress> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port }, resolve)
  try {
    await promise
  } catch (cause) {
    const isTaken = cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE'
    const where = writeAddress({ host, port })
    throw new KvasirError(
      isTaken ? 'in-use' : 'host-failed',
      isTaken
        ? `Another program listens on ${where}, so the display is not reachable there.`
        : `This machine does not let ${where} be listened on, so the display is not reachable there.`,
      { cause },
    )
  }
  const bound = server.address()
  return typeof bound === 'object' && bound !== null ? { host, port: bound.port } : { host, port }
}

async function ended(server: Server, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.on('error', reject)
  if (signal.aborted) return
  signal.addEventListener('abort', () => resolve(), { once: true })
  await promise
}
