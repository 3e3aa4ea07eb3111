/**
 * `volume download`: into a file, which has its name when it is whole, or to stdout.
 *
 * What has come lies in FILE.TAG.part, where the tag is the daemon's for these contents, so the same command goes on with it, and
 * begins anew where the volume has changed since. A connection that breaks off is made again.
 */
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { plainBytes } from '@kvasir/contract/contents'
import { KvasirError } from '@kvasir/contract/error-table'
import { formatBytes } from '@kvasir/contract/size'
import type { Download, VolumePlace } from '@kvasir/sdk'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { ProgressBar } from '../output/progress-bar.ts'
import { UsageError } from '../usage-error.ts'
import { putPiece } from './file-pieces.ts'
import { giveFile } from './hand-over.ts'
import { volumeArgument, volumeName } from './volume-address.ts'

/** A connection is made again so often without anything having come meanwhile. */
const mostAttempts = 10
const againMs = 1_000

interface PartFile {
  readonly path: string
  readonly file: FileHandle
}

export const downloadVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const path = context.argument('FILE')
  if (path === '-') {
    await toStdout(context, params)
    return undefined
  }
  if (!context.has('force') && (await stat(path).catch(() => undefined)))
    throw new UsageError(`${path} exists.`, 'Name another file, or say --force.')
  const bytes = (await fillFile(context, params, path)) ?? (await toFile(context, params, path))
  const name = volumeName({ pool: params.pool, name: params.volume })
  context.output.message(`Volume ${name} is in ${path} (${formatBytes(bytes)}).`)
  return undefined
}

async function toFile(context: Context, params: VolumePlace, path: string): Promise<number> {
  const old = await findPart(path)
  let part: PartFile | undefined
  const show = progress(context, params)
  try {
    let offset = old === undefined ? 0 : (await stat(old.path)).size
    const sizeBytes = await receive(context, params, {
      from: () => offset,
      tag: old?.tag,
      async begin(download) {
        const wanted = partPath(path, download.tag)
        if (part && part.path !== wanted) await rm(part.path, { force: true })
        if (part?.path !== wanted) {
          await part?.file.close()
          part = { path: wanted, file: await open(wanted, wanted === old?.path ? 'r+' : 'w', 0o600) }
        }
        if (old && old.path !== wanted) await rm(old.path, { force: true })
        offset = download.from
        await part.file.truncate(offset)
      },
      async take(download) {
        for await (const piece of download.pieces) {
          if (!part) break
          offset = await putPiece(part.file, offset, piece)
          show(offset, download.sizeBytes)
        }
      },
    })
    if (!part) return sizeBytes
    await finish(part, path)
    return sizeBytes
  } finally {
    show[Symbol.dispose]()
    await part?.file.close()
  }
}

/** Has the daemon fill the file, where it can, and the stream go on where it could not; answers the size when it is whole. */
async function fillFile(context: Context, params: VolumePlace, path: string): Promise<number | undefined> {
  if (context.client.address.kind !== 'unix') return undefined
  const old = await findPart(path)
  const begun = old?.path ?? `${path}.part`
  const part = { path: begun, file: await open(begun, old === undefined ? 'w+' : 'r+', 0o600) }
  using show = progress(context, params)
  try {
    const from = { offset: (await part.file.stat()).size, tag: old?.tag }
    const sizeBytes = await giveFile(context, {
      file: part.file,
      params,
      from,
      async onGiven({ offsetBytes, sizeBytes, tag }) {
        show(offsetBytes, sizeBytes)
        const wanted = partPath(path, tag)
        if (part.path !== wanted) await rename(part.path, wanted)
        part.path = wanted
      },
    })
    if (sizeBytes !== undefined) await finish(part, path)
    else if (old === undefined && part.path === begun) await rm(begun, { force: true })
    return sizeBytes
  } finally {
    await part.file.close()
  }
}

async function finish({ file, path: from }: PartFile, path: string): Promise<void> {
  await file.sync()
  await rename(from, path)
}

async function toStdout(context: Context, params: VolumePlace): Promise<void> {
  if (context.output.stdout.isTTY)
    throw new UsageError('stdout is a terminal.', 'Send it to a program or a file, or name a file.')
  let offset = 0
  await receive(context, params, {
    from: () => offset,
    tag: undefined,
    async begin({ from }) {
      if (from === offset) return
      throw new KvasirError(
        'revision-mismatch',
        'The volume has changed since, so what was sent of it is worthless.',
      )
    },
    async take({ pieces }) {
      for await (const bytes of plainBytes(pieces)) {
        await new Promise<void>((resolve, reject) => {
          process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
        })
        offset += bytes.length
      }
    },
  })
}

interface Receiver {
  /** Where there is nothing yet. */
  readonly from: () => number
  readonly tag: string | undefined
  begin(download: Download): Promise<void>
  take(download: Download): Promise<void>
}

/** Takes a volume to its end over as many connections as that needs; answers its size. */
async function receive(context: Context, params: VolumePlace, receiver: Receiver): Promise<number> {
  let { tag } = receiver
  for (let attempt = 1; ; attempt++) {
    const from = receiver.from()
    try {
      const download = await context.client.openDownload(params, { from, tag, signal: context.signal })
      await receiver.begin(download)
      tag = download.tag
      await receiver.take(download)
      if (receiver.from() === download.sizeBytes) return download.sizeBytes
      throw new KvasirError('unreachable', 'The connection ended before the volume did.')
    } catch (error) {
      if (receiver.from() > from) attempt = 0
      // Without a tag nobody can tell whether what comes now goes with what has come.
      const canGoOn = tag !== undefined || receiver.from() === 0
      if (!isBroken(error) || !canGoOn || attempt >= mostAttempts) throw error
      await sleep(againMs, undefined, { signal: context.signal })
    }
  }
}

/** Whether a connection that is made again may help: it broke, or the daemon still holds what the broken one had. */
export function isBroken(error: unknown): boolean {
  if (!(error instanceof KvasirError)) return false
  return ['unreachable', 'shutting-down', 'busy', 'too-many-requests'].includes(error.code) || isCut(error)
}

function isCut({ code, message }: KvasirError): boolean {
  return code === 'bad-request' && /cut off/.test(message)
}

function partPath(path: string, tag: string | undefined): string {
  return tag === undefined ? `${path}.part` : `${path}.${tag}.part`
}

/** What an earlier command has left. */
async function findPart(path: string): Promise<{ readonly path: string; readonly tag: string } | undefined> {
  const begin = `${basename(path)}.`
  for (const name of await readdir(dirname(path)).catch(() => [])) {
    const tag = name.startsWith(begin)
      ? /^([0-9a-f]{32})\.part$/.exec(name.slice(begin.length))?.[1]
      : undefined
    if (tag !== undefined) return { path: join(dirname(path), name), tag }
  }
  return undefined
}

/** Shows how far it is. */
export function progress(
  { output }: Context,
  { pool, volume }: VolumePlace,
  verb = 'downloading',
): ((done: number, sizeBytes: number) => void) & Disposable {
  const bar = new ProgressBar(output)
  const step = `${verb} ${volumeName({ pool, name: volume })}`
  let shownMs = 0
  const show = (done: number, sizeBytes: number) => {
    if (performance.now() - shownMs < 200) return
    shownMs = performance.now()
    bar.show({ state: 'running', step, progress: sizeBytes === 0 ? 1 : done / sizeBytes })
  }
  return Object.assign(show, { [Symbol.dispose]: () => bar[Symbol.dispose]() })
}
