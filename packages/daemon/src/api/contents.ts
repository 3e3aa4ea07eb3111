/**
 * Contents of volumes on the wire: `Range` and `If-Range` (RFC 9110, sections 13 and 14), the two forms, and clients that take nothing.
 *
 * Positions are those of the volume in both forms. Not here: what the contents are (services/volumes), what a frame is (contract).
 */
import { Readable } from 'node:stream'
import {
  contentsTypes,
  dataPieces,
  decodePieces,
  encodePieces,
  KvasirError,
  type Piece,
  plainBytes,
  type SentContents,
} from '@kvasir/contract'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** A client that takes nothing for so long is cut off: a volume that is read is held, and few can be at one time. */
const stallMs = 120_000
const chunkBytes = 1024 * 1024

/** Lets requests bring contents where an endpoint takes them; `bad-request` anywhere else. */
export function readContents(
  app: FastifyInstance,
  takesContents: (request: FastifyRequest) => boolean,
): void {
  const parser =
    (pieces: (stream: AsyncIterable<Uint8Array>) => AsyncIterable<Piece>) =>
    async (request: FastifyRequest, payload: AsyncIterable<Uint8Array>) => {
      if (takesContents(request)) return pieces(payload)
      throw new KvasirError('bad-request', 'The body is not application/json, so it was not read.')
    }
  app.addContentTypeParser(contentsTypes.plain, parser(dataPieces))
  app.addContentTypeParser(contentsTypes.extents, parser(decodePieces))
}

/** Sends contents, or the part that was asked for. */
export async function sendContents(
  request: FastifyRequest,
  reply: FastifyReply,
  contents: SentContents,
): Promise<FastifyReply> {
  try {
    const { sizeBytes, tag } = contents
    const isFramed = (request.headers.accept ?? '').includes(contentsTypes.extents)
    if (contents.isIncrement && !isFramed)
      throw new KvasirError(
        'bad-request',
        `What tells of changes alone has no plain form; ask for ${contentsTypes.extents}.`,
      )
    const part = partOf(request, contents)
    const { from, to } = part ?? { from: 0, to: sizeBytes }
    reply.type(isFramed ? contentsTypes.extents : contentsTypes.plain).header('Accept-Ranges', 'bytes')
    if (tag !== undefined) reply.header('ETag', `"${tag}"`)
    if (part) reply.code(206).header('Content-Range', `bytes ${from}-${to - 1}/${sizeBytes}`)
    else reply.code(200)
    reply.header('Kvasir-Size', sizeBytes)
    if (!isFramed) reply.header('Content-Length', to - from)
    const bytes = isFramed ? encodePieces(contents.pieces(from, to)) : plainBytes(contents.pieces(from, to))
    return await reply.send(asStream(bytes, contents))
  } catch (error) {
    await contents.close()
    throw error
  }
}

/** The part that is asked for; undefined for all of it. */
function partOf(
  { headers }: FastifyRequest,
  { sizeBytes, tag }: SentContents,
): { readonly from: number; readonly to: number } | undefined {
  const { range } = headers
  if (range === undefined) return undefined
  const wanted = headers['if-range']
  if (wanted !== undefined && (tag === undefined || wanted !== `"${tag}"`)) return undefined
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(range)
  if (!match) return undefined // What is not understood is ignored (RFC 9110, 14.2).
  const from = Number(match[1])
  const to = match[2] === undefined ? sizeBytes : Math.min(sizeBytes, Number(match[2]) + 1)
  if (from < to) return { from, to }
  throw new KvasirError(
    'range-refused',
    `The volume has ${sizeBytes} bytes, so there is no part that begins at ${from}.`,
    { details: { sizeBytes } },
  )
}

/** A stream that lets go of the volume when it ends, whoever ends it. */
function asStream(bytes: AsyncGenerator<Uint8Array>, contents: SentContents): Readable {
  async function* watched() {
    let stall: NodeJS.Timeout | undefined
    try {
      for await (const chunk of bytes) {
        stall = setTimeout(() => stream.destroy(new Error('The client took nothing for too long.')), stallMs)
        yield chunk
        clearTimeout(stall)
      }
    } finally {
      clearTimeout(stall)
      await contents.close()
    }
  }
  const stream: Readable = Readable.from(watched(), { objectMode: false, highWaterMark: chunkBytes })
  // One that is destroyed before it is first read never runs its generator.
  stream.once('close', () => void contents.close())
  return stream
}
