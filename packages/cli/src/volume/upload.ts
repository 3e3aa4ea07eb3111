/**
 * `volume upload`: a file becomes a volume, part by part. The same command goes on where a former one was broken off, since the daemon
 * knows how much of this very file there is.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract/error-table'
import { packedImageBytes, packedImageOf } from '@kvasir/contract/packed-image'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { VolumePlace } from '@kvasir/sdk'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { UsageError } from '../usage-error.ts'
import { isBroken, progress } from './download.ts'
import { findContents } from './file-holes.ts'
import { filePieces } from './file-pieces.ts'
import { takeFile } from './hand-over.ts'
import { volumeArgument, volumeName } from './volume-address.ts'

const mostAttempts = 10
const againMs = 1_000
/** So long one request lasts: the daemon waits a minute for the end of one. */
const partMs = 10_000

export const uploadVolume: Action = async (context) => {
  const path = context.argument('FILE')
  const params = volumeArgument(context)
  await using file = await openFile(path)
  const { size, mtimeMs, ino, dev, isRegular } = await describe(file)
  if (!isRegular || size === 0)
    throw new UsageError(`${path} is no regular file with something in it.`, 'Name one.')
  const body = {
    size,
    format: await formatOf(context, file, path),
    fingerprint: `${dev}:${ino}:${size}:${mtimeMs}`,
    ...asked(context),
  }
  const begin = () => context.client.call(routes.beginUpload, { params, body, signal: context.signal })
  const volume = await begin()
  const offsetOf = ({ upload }: typeof volume) => upload?.offsetBytes ?? 0
  if (offsetOf(volume) > 0) context.output.message(`Going on at ${formatBytes(offsetOf(volume))}.`)
  await sendAll(
    context,
    { file, size, params },
    { from: offsetOf(volume), ask: async () => offsetOf(await begin()) },
  )
  const query = startQuery(context)
  const job = await context.client.call(routes.finishUpload, { params, query, signal: context.signal })
  await followJob(
    context,
    job,
    () =>
      `Volume ${volumeName({ pool: params.pool, name: params.volume })} is uploaded (${formatBytes(size)}).`,
  )
  return undefined
}

/** A file, which stdin may be. */
async function openFile(path: string): Promise<FileHandle> {
  if (path !== '-') return await open(path, 'r')
  if (!(await stat('/dev/fd/0')).isFile())
    throw new UsageError(
      'Stdin is no file, so nobody knows how much will come.',
      'Write it to a file first, or redirect one: kvasir volume upload - NAME <FILE',
    )
  return await open('/dev/fd/0', 'r')
}

async function describe(file: FileHandle) {
  const stat = await file.stat()
  const { size, mtimeMs, ino, dev } = stat
  return { size, mtimeMs, ino, dev, isRegular: stat.isFile() }
}

function asked(context: Context): { readonly as?: 'raw' | 'qcow2'; readonly force?: true } {
  const as = context.choice('as', ['raw', 'qcow2'])
  return { ...(as === undefined ? {} : { as }), ...(context.has('force') ? { force: true } : {}) }
}

/** What the file is; where it looks like something else than contents, that has to be said. */
async function formatOf(context: Context, file: FileHandle, path: string): Promise<'raw' | 'qcow2'> {
  const said = context.choice('format', ['raw', 'qcow2'])
  if (said !== undefined) return said
  const { buffer, bytesRead } = await file.read(Buffer.alloc(packedImageBytes), 0, packedImageBytes, 0)
  const found = packedImageOf(buffer.subarray(0, bytesRead))
  if (!found) return 'raw'
  const isQcow2 = found.what.includes('qcow2')
  throw new UsageError(
    `${path} begins like ${found.what}; ${adviceFor(found)}.`,
    `Write ${isQcow2 ? '--format qcow2, or ' : ''}--format raw for what a guest is to see byte by byte.`,
  )
}

function adviceFor({ what, advice }: { readonly what: string; readonly advice: string }): string {
  if (what.includes('qcow2')) return 'it can be uploaded as it is'
  return what.includes('LUKS') ? 'volume import --encrypt takes one that lies in a pool' : advice
}

/** Sends all that is missing, over as many connections as that needs. */
async function sendAll(
  context: Context,
  { file, size, params }: { readonly file: FileHandle; readonly size: number; readonly params: VolumePlace },
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
      const pieces = filePieces(file, { from: offset, to: size, contents }, limits)
      offset = (await client.sendPart(params, { offset, pieces, signal })).offsetBytes
    } catch (error) {
      const isBehind = error instanceof KvasirError && error.code === 'revision-mismatch'
      if ((!isBroken(error) && !isBehind) || attempt >= mostAttempts) throw error
      await sleep(againMs, undefined, { signal })
      offset = await ask().catch((refusal: unknown) => {
        if (isBroken(refusal)) return before
        throw refusal
      })
    }
    if (offset > before) attempt = 0
  }
}
