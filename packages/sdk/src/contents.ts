/**
 * The contents of volumes as streams: one request each, for as long as bytes flow. A stream that stands still for too long is ended.
 * Whoever transfers a volume begins again where it ended.
 *
 * Not here: files, progress, beginning again (the command line).
 */
import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import {
  type ChangedPiece,
  contentsTypes,
  decodeChanges,
  decodePieces,
  encodePieces,
  type Piece,
} from '@kvasir/contract/contents'
import { KvasirError } from '@kvasir/contract/error-table'
import type { DaemonAddress } from './address.ts'
import { describeFailure, type HttpAnswer, openRequest, readAnswer } from './http-request.ts'
import { problemFrom } from './problem.ts'

/** A stream of which nothing moves for so long is ended. */
const stallMs = 60_000

export interface DownloadOptions {
  /** Where to begin; with the tag of a former answer, unless the volume has changed since. */
  readonly from?: number
  readonly tag?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** A volume that comes. */
export type Download = Incoming<Piece>

/** A disk that comes as it was at one instant, or what had changed of it by then. */
export type ChangeDownload = Incoming<ChangedPiece>

interface Incoming<P> {
  readonly sizeBytes: number
  /** Where it begins: 0 where the volume has changed since the tag. */
  readonly from: number
  readonly tag: string | undefined
  readonly pieces: AsyncIterable<P>
}

export interface UploadPart {
  readonly pieces: AsyncIterable<Piece>
  readonly signal?: AbortSignal | undefined
}

interface Target {
  readonly address: DaemonAddress
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** Asks for the contents of a volume. Throws what the daemon refuses it with. */
export function openDownload(target: Target, options: DownloadOptions): Promise<Download> {
  return open(target, options, decodePieces)
}

/** Asks for what is kept of a disk. Throws what the daemon refuses it with. */
export function openChanges(target: Target, options: DownloadOptions): Promise<ChangeDownload> {
  return open(target, options, decodeChanges)
}

async function open<P>(
  { address, path, headers }: Target,
  { from = 0, tag, signal }: DownloadOptions,
  decode: (stream: AsyncIterable<Uint8Array>) => AsyncIterable<P>,
): Promise<Incoming<P>> {
  const range: Record<string, string> =
    from > 0 && tag !== undefined ? { range: `bytes=${from}-`, 'if-range': `"${tag}"` } : {}
  const request = openRequest(address, {
    method: 'GET',
    path,
    headers: { ...headers, ...range, accept: `${contentsTypes.extents}, application/problem+json` },
  })
  const release = watch(request, signal)
  request.end()
  const incoming = await answerTo(request, address)
  if (incoming.statusCode !== 200 && incoming.statusCode !== 206) {
    const answer = await whole(request, incoming)
    release()
    throw problemFrom(answer, address)
  }
  return {
    sizeBytes: Number(incoming.headers['kvasir-size']),
    from: incoming.statusCode === 206 ? from : 0,
    tag: /^"(.*)"$/.exec(incoming.headers.etag ?? '')?.[1],
    pieces: released(described(decode(incoming), address), release),
  }
}

/** Sends a part of a volume; answers up to where there is something then. */
export async function sendPart(
  { address, path, headers }: Target,
  { pieces, signal }: UploadPart,
): Promise<{ readonly offsetBytes: number; readonly sizeBytes: number }> {
  const request = openRequest(address, {
    method: 'PATCH',
    path,
    headers: { ...headers, 'content-type': contentsTypes.extents },
  })
  const release = watch(request, signal)
  try {
    const answered = answerTo(request, address)
    await Promise.race([writeAll(request, encodePieces(pieces)), answered]) // A refusal comes before all is sent.
    const incoming = await answered
    const answer = await whole(request, incoming)
    if (answer.status !== 200) throw problemFrom(answer, address)
    return JSON.parse(answer.body.toString('utf8')) as Awaited<ReturnType<typeof sendPart>> // The daemon's word is taken.
  } catch (error) {
    throw describeFailure(error, address)
  } finally {
    release()
    request.destroy()
  }
}

async function writeAll(request: ClientRequest, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) {
    if (request.destroyed || request.writableEnded) return
    if (!request.write(chunk)) await untilDrained(request)
  }
  request.end()
}

/** Until more can be written, or nothing any more; nothing listens on afterwards. */
async function untilDrained(request: ClientRequest): Promise<void> {
  const over = new AbortController()
  const { signal } = over
  try {
    await Promise.race([once(request, 'drain', { signal }), once(request, 'close', { signal })])
  } finally {
    over.abort()
  }
}

function answerTo(request: ClientRequest, address: DaemonAddress): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  request.once('response', resolve)
  request.on('error', (error) => reject(describeFailure(error, address)))
  promise.catch(() => {}) // Who waits for it is told; nobody may yet.
  return promise
}

function whole(request: ClientRequest, incoming: IncomingMessage): Promise<HttpAnswer> {
  return readAnswer(request, incoming)
}

/** Ends a request whose connection stands still, or whose signal aborts. */
function watch(request: ClientRequest, signal: AbortSignal | undefined): () => void {
  const abort = () => {
    request.destroy(signal?.reason instanceof Error ? signal.reason : new Error('It was cancelled.'))
  }
  request.setTimeout(stallMs, () =>
    request.destroy(
      new KvasirError('unreachable', `Nothing moved for ${stallMs / 1000} s, so the transfer was ended.`),
    ),
  )
  signal?.addEventListener('abort', abort, { once: true })
  if (signal?.aborted) abort()
  return () => signal?.removeEventListener('abort', abort)
}

async function* described<P>(pieces: AsyncIterable<P>, address: DaemonAddress): AsyncGenerator<P> {
  try {
    yield* pieces
  } catch (error) {
    throw describeFailure(error, address)
  }
}

async function* released<P>(pieces: AsyncIterable<P>, release: () => void): AsyncGenerator<P> {
  try {
    yield* pieces
  } finally {
    release()
  }
}
