/**
 * `vm export --nbd SOCKET`: the disks of a VM as they were at one instant, by NBD on a UNIX socket of this machine, while the VM runs and
 * until this command is ended. Each disk is an export of its name, and can be read only.
 *
 * The socket is that of who runs this command, and of nobody else (mode 0600). Each connection goes to the daemon by a WebSocket with a
 * ticket of its own, as a display does (vnc.ts). NBD has no password, so nothing listens on TCP.
 */
import { lstat } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { resolve as absolute } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Instant } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import { bridgeDisplay } from '../console/bridge-display.ts'
import type { Context } from '../context.ts'
import { printable } from '../output/width.ts'
import { UsageError } from '../usage-error.ts'
import { untilCopied, whyEnded } from './until-copied.ts'

/** A command that was killed cannot end its instant. */
const idleSeconds = 60
/** How often the daemon hears that this is still there. */
const signOfLifeMs = 15_000
const maxReaders = 16
/** By what a client asks what changed (QEMU, docs/interop/nbd.txt). */
const changed = 'qemu:dirty-bitmap:changed'
/** sun_path of unix(7), without its end. */
const longestSocketPath = 107

/** Serves the disks of a VM until Ctrl-C. */
export async function serveNbd(context: Context, wanted: string): Promise<undefined> {
  const { client, signal, output } = context
  const path = absolute(wanted)
  await requireFree(path)
  const params = { name: context.argument('NAME') }
  const [disk, checkpoint, since] = ['disk', 'checkpoint', 'since'].map((flag) => context.value(flag))
  const instant = await client.call(routes.createInstant, {
    params,
    body: {
      idleSeconds,
      quiesce: context.has('quiesce'),
      ...(disk === undefined ? {} : { disks: [disk] }),
      ...(checkpoint === undefined ? {} : { checkpoint }),
      ...(since === undefined ? {} : { since }),
    },
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  const readers = new Set<Socket>()
  const server = createServer({ pauseOnConnect: true }, (reader) => {
    readers.add(reader)
    reader.once('close', () => readers.delete(reader))
    void serveReader(reader, { context, instant })
  })
  server.maxConnections = maxReaders
  try {
    await untilCopied(context, instant)
    await ticketFor(context, instant)
    await listen(server, path)
    await tell(context, instant, path)
    await untilOver(context, instant)
  } finally {
    if (server.listening) server.close()
    for (const reader of readers) reader.destroy()
    await client
      .call(routes.endInstant, { params: { ...params, instant: instant.id } })
      .catch(() => undefined) // It ended by itself, or ends when nobody reads of it.
    output.message(`The guest stood for ${instant.stoodMs.toFixed(1)} ms at most.`)
  }
  return undefined
}

async function requireFree(path: string): Promise<void> {
  if (Buffer.byteLength(path) > longestSocketPath)
    throw new UsageError(
      `${path} is too long for a socket.`,
      `Name one of ${longestSocketPath} bytes at most.`,
    )
  if (await lstat(path).catch(() => undefined)) throw new UsageError(`${path} exists.`, 'Name another place.')
}

async function tell({ output }: Context, { disks, vm, since }: Instant, path: string): Promise<void> {
  const exports = disks.map(({ disk, sizeBytes, kind }) => ({
    disk,
    sizeBytes,
    url: `nbd+unix:///${disk}?socket=${path}`,
    ...(kind === 'increment' ? { bitmap: changed } : {}),
  }))
  await output.result({ socket: path, exports }, () =>
    exports
      .map(({ url, sizeBytes, bitmap = '' }) => `${`${url}  ${formatBytes(sizeBytes)}  ${bitmap}`.trim()}\n`)
      .join(''),
  )
  for (const { disk, kind, reason } of disks) {
    if (kind === 'increment')
      output.message(
        `Of disk ${disk} only what changed since ${since} is there, which ${changed} tells; the rest reads as zeros.`,
      )
    else if (reason !== undefined)
      output.message(`All of disk ${disk} is there, since what changed is not known: ${reason}.`)
  }
  output.message(`The disks of VM ${vm} are there as they were at that instant, until Ctrl-C.`)
}

/** Until the command is ended; throws why the instant was, if that came first. */
async function untilOver(context: Context, instant: Instant): Promise<never> {
  for (;;) {
    await sleep(signOfLifeMs, undefined, { signal: context.signal })
    await ticketFor(context, instant)
  }
}

async function ticketFor(context: Context, instant: Instant): Promise<string> {
  const { client, signal } = context
  const params = { name: instant.vm, instant: instant.id }
  try {
    return (await client.call(routes.nbdTicket, { params, signal })).url
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'instant-not-found')
      throw await whyEnded(context, instant)
    throw error
  }
}

async function serveReader(
  reader: Socket,
  { context, instant }: { readonly context: Context; readonly instant: Instant },
): Promise<void> {
  try {
    reader.on('error', () => {})
    using disks = await context.client.openStream(await ticketFor(context, instant), {
      signal: context.signal,
    })
    await bridgeDisplay(reader, disks)
  } catch (error) {
    reader.destroy()
    if (context.signal.aborted) return
    const why = error instanceof KvasirError ? error.message : String(error)
    context.output.message(`A reader was turned away: ${printable(why)}`)
  }
}

/** The socket is made with its mode, so that there is no moment in which others could connect. */
async function listen(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  const umask = process.umask(0o177)
  try {
    server.listen({ path }, resolve)
  } finally {
    process.umask(umask)
  }
  try {
    await promise
  } catch (cause) {
    throw new KvasirError('host-failed', `No socket can be made at ${path}, so nothing is served there.`, {
      cause,
    })
  }
  server.on('error', () => {}) // A reader that was not accepted; the next one may be.
}
