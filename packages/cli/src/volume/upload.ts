/**
 * `volume upload`: a file becomes a volume, part by part. The same command goes on where a former one was broken off, since the daemon
 * knows how much of this very file there is.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { packedImageBytes } from '@kvasir/contract/packed-image'
import { formatBytes } from '@kvasir/contract/size'
import type { VolumePlace } from '@kvasir/sdk'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { askUpload, beginUpload } from './begin-upload.ts'
import { progress } from './download.ts'
import { findContents } from './file-holes.ts'
import { filePieces, firstPieces } from './file-pieces.ts'
import { finishUpload } from './finish-upload.ts'
import { whereToGoOn } from './go-on.ts'
import { takeFile } from './hand-over.ts'
import { uploadStream } from './upload-stream.ts'
import { asked, formatOf, mostPartBytes } from './upload-words.ts'
import { volumeArgument } from './volume-address.ts'

/** So long one request lasts: the daemon waits a minute for the end of one. */
const partMs = 10_000

export const uploadVolume: Action = async (context) => {
  const path = context.argument('FILE')
  const params = volumeArgument(context)
  const file = path === '-' ? '/dev/fd/0' : path
  const there = await stat(file)
  if (there.isDirectory()) throw new UsageError(`${path} is a folder.`, 'Name a file.')
  if (!there.isFile()) return await uploadStream(context, params)
  await using opened = await open(file, 'r')
  return await uploadFile(context, params, opened)
}

async function uploadFile(context: Context, params: VolumePlace, file: FileHandle): Promise<undefined> {
  const path = context.argument('FILE')
  const { size, mtimeMs, ino, dev } = await file.stat()
  if (size === 0) throw new UsageError(`${path} is empty.`, 'Name a file with something in it.')
  if (context.has('size'))
    throw new UsageError(`${path} has a size of its own.`, 'Leave --size away; it is for pipes.')
  const body = {
    size,
    format: formatOf(context, await edgesOf(file, size), path),
    fingerprint: `${dev}:${ino}:${size}:${mtimeMs}`,
    ...asked(context),
  }
  const volume = await beginUpload(context, params, body)
  const offsetOf = ({ upload }: typeof volume) => upload?.offsetBytes ?? 0
  if (offsetOf(volume) > 0) context.output.message(`Going on at ${formatBytes(offsetOf(volume))}.`)
  await sendAll(
    context,
    { file, size, params, mostBytes: mostPartBytes(volume) },
    { from: offsetOf(volume), ask: async () => offsetOf(await askUpload(context, params, body)) },
  )
  await finishUpload(context, params, formatBytes(size))
  return undefined
}

/** The first bytes of a file, and the last ones. */
async function edgesOf(file: FileHandle, size: number): Promise<Record<'beginning' | 'end', Uint8Array>> {
  const read = async (position: number) => {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(packedImageBytes),
      0,
      packedImageBytes,
      position,
    )
    return buffer.subarray(0, bytesRead)
  }
  return { beginning: await read(0), end: await read(Math.max(0, size - packedImageBytes)) }
}

interface Sending {
  readonly file: FileHandle
  readonly size: number
  readonly params: VolumePlace
  readonly mostBytes: number
}

/** Sends all that is missing, over as many connections as that needs. */
async function sendAll(
  context: Context,
  { file, size, params, mostBytes }: Sending,
  { from, ask }: { readonly from: number; readonly ask: () => Promise<number> },
): Promise<void> {
  const { client, signal } = context
  using show = progress(context, params, 'uploading')
  let offset = await takeFile(context, { file, size, params, from, onTaken: (at) => show(at, size) })
  let contents: Awaited<ReturnType<typeof findContents>> | undefined
  for (let attempt = 1; offset < size; attempt++) {
    const before = offset
    try {
      const limits = { milliseconds: partMs, onSent: (at: number) => show(at, size) }
      contents ??= await findContents(file.fd, size)
      const pieces = firstPieces(filePieces(file, { from: offset, to: size, contents }, limits), mostBytes)
      offset = (await client.sendPart(params, { offset, pieces, signal })).offsetBytes
    } catch (error) {
      offset = await whereToGoOn(error, { attempt, before, ask, signal })
    }
    if (offset > before) attempt = 0
  }
}
