/**
 * `volume upload` of what is no file: stdin that is a pipe, or a FIFO. Nobody knows how much will come, so the volume has the size that
 * was said, or that it has already; what does not come of it is zeros, and more is refused.
 *
 * A connection that breaks is made again. A sender that breaks off cannot be told from one that is done, so what came is told.
 */
import { createReadStream } from 'node:fs'
import { KvasirError } from '@kvasir/contract/error-table'
import { packedImageBytes } from '@kvasir/contract/packed-image'
import { routes } from '@kvasir/contract/routes'
import { formatBytes, parseBytes } from '@kvasir/contract/size'
import type { VolumePlace } from '@kvasir/sdk'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { askUpload, beginUpload } from './begin-upload.ts'
import { progress } from './download.ts'
import { firstPieces } from './file-pieces.ts'
import { finishUpload } from './finish-upload.ts'
import { whereToGoOn } from './go-on.ts'
import { KeptStream } from './kept-stream.ts'
import { asked, formatOf, mostPartBytes } from './upload-words.ts'
import { volumeName } from './volume-address.ts'

/** So long one request lasts: the daemon waits a minute for the end of one. */
const partMs = 10_000
/** For the last look at an upload that is over. */
const lastWordMs = 10_000

/** Makes a volume of what comes. */
export async function uploadStream(context: Context, params: VolumePlace): Promise<undefined> {
  const path = context.argument('FILE')
  const from = path === '-' ? 'stdin' : path
  if (context.choice('format', ['raw', 'qcow2']) === 'qcow2')
    throw new UsageError(
      'Of a pipe only contents are taken, since a qcow2 file is as long as it is.',
      'Write it to a file first, or send what a guest is to see: qemu-img convert -O raw.',
    )
  if (path === '-' && process.stdin.isTTY)
    throw new UsageError('Stdin is a terminal.', 'Send it a volume from a program, or name a file.')
  const name = volumeName({ pool: params.pool, name: params.volume })
  const size = await sizeOf(context, params, from)
  const stream = path === '-' ? process.stdin : createReadStream(path)
  try {
    const kept = new KeptStream(stream, size)
    const beginning = await kept.begin(packedImageBytes, context.signal)
    if (kept.readBytes === 0)
      throw new KvasirError('bad-request', `Nothing came from ${from}, so volume ${name} is not uploaded.`)
    const body = {
      size,
      format: formatOf(context, { beginning }, from),
      fingerprint: `stream:${crypto.randomUUID()}`,
      ...asked(context),
    }
    const volume = await beginUpload(context, params, body)
    const ask = async () => (await askUpload(context, params, body)).upload?.offsetBytes ?? 0
    await sendAll(context, kept, { params, size, ask, from, mostBytes: mostPartBytes(volume) }).catch(
      async (error: unknown) => {
        await tellOfRest(context, params, name)
        throw error
      },
    )
    const came = formatBytes(kept.readBytes)
    const rest = kept.readBytes < size ? `, and zeros up to its ${formatBytes(size)}` : ''
    await finishUpload(context, params, `${came} came from ${from}, ${kept.readBytes} bytes${rest}`)
    if (rest !== '')
      context.output.message(
        'Whether the program that sent it came to its end is not known here: with pipefail the shell says.',
      )
    return undefined
  } finally {
    stream.destroy()
  }
}

/** What the volume has, or is to have. */
async function sizeOf(context: Context, params: VolumePlace, from: string): Promise<number> {
  const { client, signal } = context
  const said = context.value('size')
  if (said !== undefined) {
    const bytes = parseBytes(said)
    if (bytes !== undefined && bytes > 0) return bytes
    throw new UsageError(
      `${JSON.stringify(said)} is no size of a volume.`,
      'Write --size 20GiB, for example.',
    )
  }
  const volume = await client.call(routes.getVolume, { params, signal }).catch((error: unknown) => {
    if (error instanceof KvasirError && error.code === 'volume-not-found') return undefined
    throw error
  })
  if (volume) return volume.capacityBytes
  throw new UsageError(
    `What comes from ${from} is no file, so nobody knows how much will come.`,
    'Say how large the volume is to be, such as --size 20GiB; less may come.',
  )
}

interface Sending {
  readonly params: VolumePlace
  readonly size: number
  readonly ask: () => Promise<number>
  readonly from: string
  readonly mostBytes: number
}

/** Sends all that comes, over as many connections as that needs. */
async function sendAll(
  context: Context,
  kept: KeptStream,
  { params, size, ask, from, mostBytes }: Sending,
): Promise<void> {
  const { client, signal } = context
  using show = progress(context, params, 'uploading')
  let offset = 0
  for (let attempt = 1; ; attempt++) {
    await kept.more(signal)
    const before = offset
    const part = new AbortController()
    try {
      const limits = {
        milliseconds: partMs,
        signal: AbortSignal.any([signal, part.signal]),
        onSent: (at: number) => show(at, size),
      }
      offset = (
        await client.sendPart(params, {
          offset,
          pieces: firstPieces(kept.pieces(offset, limits), mostBytes),
          signal,
        })
      ).offsetBytes
      attempt = 0 // It was answered, be it that the source brought little.
    } catch (error) {
      part.abort()
      offset = await whereToGoOn(error, { attempt, before, ask, signal })
      if (!kept.has(offset)) throw error
    }
    kept.release(offset)
    if (kept.isBeyond)
      throw new KvasirError(
        'bad-request',
        `More comes from ${from} than the ${formatBytes(size)} that volume ${volumeName({ pool: params.pool, name: params.volume })} has, so it is not uploaded.`,
      )
    if (kept.isWhole(offset)) return
    if (offset > before) attempt = 0
  }
}

/** What is there of an upload that cannot go on, since what was read of a stream is gone. */
async function tellOfRest({ client, output }: Context, params: VolumePlace, name: string): Promise<void> {
  const asking = client.call(routes.getVolume, { params, signal: AbortSignal.timeout(lastWordMs) })
  const { upload } = await asking.catch(() => ({ upload: undefined }))
  if (upload === undefined) return
  const written = `${formatBytes(upload.offsetBytes)} of ${formatBytes(upload.sizeBytes)}`
  output.message(
    `Volume ${name} stays an upload of which ${written} are written, and which nobody is given. A stream is not read twice, so it does not go on: send it anew with --force${upload.expiresAt === undefined ? '' : ', delete it, or it goes by itself after a day'}.`,
  )
}
