/**
 * The event stream that survives cuts: it reconnects and goes on after the last sequence number it gave.
 *
 * Invariant: numbers are given once, ascending and without gaps. A gap is asked for again; one that stays is `events-gone`.
 */
import type { Event } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Client } from './client.ts'
import type { MessageSocket } from './message-socket.ts'

const eventsPath = '/v1/events/stream'
const firstRetryMs = 100
const maxRetryMs = 5_000

/** Where to begin and when to stop. */
export interface EventOptions {
  /** The last sequence number already known; without it, only what happens from now on. */
  readonly after?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** How long a daemon that was once reached may stay away. Five minutes when nothing else is said. */
  readonly reconnectForMs?: number | undefined
  /** Called at each cut, before the next attempt. */
  readonly onReconnect?: ((error: unknown) => void) | undefined
}

const defaultReconnectForMs = 5 * 60_000

/** Gives events for ever, until the signal aborts or the daemon stays away. Throws the refusal, `unreachable`, or the signal's reason. */
export async function* followEvents(
  client: Client,
  options: EventOptions,
): AsyncGenerator<Event, void, void> {
  const cursor = {
    seq: options.after ?? (await client.call(routes.getStatus, { signal: options.signal })).lastEventSeq,
  }
  let lostAt: number | undefined
  let retryMs = firstRetryMs
  let connectedBefore = false
  let gapAt: number | undefined

  while (true) {
    let failure: unknown
    try {
      using socket = await client.openStream(`${eventsPath}?after=${cursor.seq}`, { signal: options.signal })
      connectedBefore = true
      lostAt = undefined
      retryMs = firstRetryMs
      const gap = yield* readUntilCut(socket, cursor)
      if (gap && gapAt === cursor.seq) throw gone(cursor.seq)
      gapAt = gap ? cursor.seq : undefined
    } catch (error) {
      failure = error
    }
    options.signal?.throwIfAborted()
    if (failure !== undefined && (!connectedBefore || !isPassing(failure))) throw failure
    lostAt ??= Date.now()
    if (Date.now() - lostAt > (options.reconnectForMs ?? defaultReconnectForMs)) {
      throw failure ?? new KvasirError('unreachable', 'The daemon keeps closing the event stream.')
    }
    options.onReconnect?.(failure)
    await pause(retryMs, options.signal)
    retryMs = Math.min(retryMs * 2, maxRetryMs)
  }
}

/** Gives the events of one connection; true when a number was missing, so that they must be asked for again. */
async function* readUntilCut(
  socket: MessageSocket,
  cursor: { seq: number },
): AsyncGenerator<Event, boolean, void> {
  for await (const message of socket.messages()) {
    if (message.kind !== 'text') continue
    const event: Event = JSON.parse(message.text)
    if (event.seq <= cursor.seq) continue
    if (event.seq > cursor.seq + 1) return true
    cursor.seq = event.seq
    yield event
  }
  return false
}

function isPassing(error: unknown): boolean {
  return error instanceof KvasirError && (error.code === 'unreachable' || error.code === 'shutting-down')
}

function gone(seq: number): KvasirError {
  return new KvasirError(
    'events-gone',
    `Events after number ${seq} are no longer kept, so nothing can be resumed there.`,
  )
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  const abort = (): void => reject(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  return promise.finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  })
}
