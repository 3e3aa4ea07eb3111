/**
 * A VM's display on a port of this machine: the daemon gives it by WebSocket, for which viewers have no words, so each connection that comes
 * is passed on with a ticket of its own, until Ctrl-C.
 *
 * Not here: what is said of the port, and to whom (vnc.ts, spice.ts).
 */
import { createServer, type Server, type Socket } from 'node:net'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { MessageSocket } from '@kvasir/sdk'
import { bridgeDisplay } from '../console/bridge-display.ts'
import type { Context } from '../context.ts'
import { printable } from '../output/width.ts'
import { type ListenAddress, writeAddress } from './listen-address.ts'

/** Which display is served, and where. */
export interface ServedDisplay {
  readonly name: string
  readonly protocol: 'vnc' | 'spice'
  readonly wanted: ListenAddress
  /** Connections at one time; more are turned away. */
  readonly most: number
  /** Called once, when viewers may come. */
  readonly announce: (address: ListenAddress) => Promise<void>
}

/** Serves a display until Ctrl-C. */
export async function servePort(context: Context, display: ServedDisplay): Promise<void> {
  // Asked for once beforehand: a VM without a display is refused here, not in a viewer.
  const probe = await openDisplay(context, display)
  probe.close()

  const viewers = new Set<Socket>()
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (viewer) => {
    viewers.add(viewer)
    viewer.once('close', () => viewers.delete(viewer))
    void serveViewer(viewer, context, display)
  })
  server.maxConnections = display.most
  const address = await listen(server, display.wanted)
  try {
    await display.announce(address)
    await ended(server, context.signal)
    context.signal.throwIfAborted()
  } finally {
    server.close()
    for (const viewer of viewers) viewer.destroy()
  }
}

async function openDisplay(
  { client, signal }: Context,
  { name, protocol }: Pick<ServedDisplay, 'name' | 'protocol'>,
): Promise<MessageSocket> {
  const route = protocol === 'vnc' ? routes.vncTicket : routes.spiceTicket
  const { url } = await client.call(route, { params: { name }, signal })
  return await client.openStream(url, { signal })
}

/** A viewer whose display cannot be had is closed and the reason said here: neither protocol has words for it before its handshake. */
async function serveViewer(viewer: Socket, context: Context, wanted: ServedDisplay): Promise<void> {
  try {
    viewer.on('error', () => {})
    using display = await openDisplay(context, wanted)
    if ((await bridgeDisplay(viewer, display)) === 'display' && wanted.protocol === 'vnc')
      context.output.message(`The display of VM ${wanted.name} has ended.`)
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
