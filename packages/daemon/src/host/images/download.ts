/**
 * Brings a file from an address into the download directory, under its digest: what is there is either unfinished (`.part`, gone on with
 * next time) or handed to the caller verified.
 *
 * Not here: which addresses are allowed and how one request goes (fetch-part.ts), what the file is (import-disk.ts).
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import type { WorkOptions } from '../../ports/images.ts'
import { checkedUrl, fetchPart } from './fetch-part.ts'

/** Bounds of a download; the defaults are for images, tests use smaller ones. */
export interface DownloadLimits {
  readonly totalBytes: number
  readonly totalMs: number
  readonly idleMs: number
  /** How often it is gone on with after a cut, and how long it waits before. */
  readonly attempts: number
  readonly retryMs: number
}

const defaultLimits: DownloadLimits = {
  totalBytes: 64 * 2 ** 30,
  totalMs: 6 * 3_600_000,
  idleMs: 60_000,
  attempts: 5,
  retryMs: 1_000,
}

/** What is fetched and what it must be. */
export interface DownloadRequest {
  readonly url: string
  readonly sha256: string
  readonly allowPrivate: boolean
}

/** Where the file goes to, how the caller watches and stops it. */
export interface DownloadOptions extends WorkOptions {
  readonly downloads: string
  readonly limits?: Partial<DownloadLimits>
}

/** Fetches and verifies; answers the file's path. Throws `KvasirError`: `address-refused`, `download-failed`, `checksum-mismatch`, `not-enough-space`. */
export async function download(request: DownloadRequest, options: DownloadOptions): Promise<string> {
  const url = checkedUrl(request.url)
  if (!/^[0-9a-f]{64}$/.test(request.sha256)) {
    throw new KvasirError('bad-request', 'The SHA-256 is not 64 hexadecimal digits, so nothing was fetched.')
  }
  const limits = { ...defaultLimits, ...options.limits }
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(limits.totalMs)])
  const path = join(options.downloads, `${request.sha256}.part`)
  const transfer: Transfer = { request, path, limits, signal, onProgress: options.onProgress }

  try {
    const { resumed } = await fetchAll(transfer)
    if (await isVerified(transfer)) return path
    // What was there from last time may have been another file's beginning.
    await rm(path, { force: true })
    if (resumed) {
      await fetchAll(transfer)
      if (await isVerified(transfer)) return path
      await rm(path, { force: true })
    }
  } catch (error) {
    if (error instanceof KvasirError && error.details['tooLarge'] === true) await rm(path, { force: true })
    throw explain(error, { host: url.host, options })
  }
  throw new KvasirError(
    'checksum-mismatch',
    `What ${url.host} gave has another SHA-256 than the one that was asked for, so it was thrown away.`,
  )
}

interface Transfer {
  readonly request: DownloadRequest
  readonly path: string
  readonly limits: DownloadLimits
  readonly signal: AbortSignal
  readonly onProgress: WorkOptions['onProgress']
}

async function fetchAll(transfer: Transfer): Promise<{ readonly resumed: boolean }> {
  await using file = await open(transfer.path, 'a+', 0o600)
  const { size: before } = await file.stat()
  for (let attempt = 1; ; attempt++) {
    try {
      await fetchRest(file, transfer)
      await file.sync()
      return { resumed: before > 0 }
    } catch (error) {
      transfer.signal.throwIfAborted()
      if (error instanceof KvasirError || isNoSpace(error) || attempt >= transfer.limits.attempts) throw error
    }
    await sleep(transfer.limits.retryMs, undefined, { signal: transfer.signal })
  }
}

async function fetchRest(file: FileHandle, transfer: Transfer): Promise<void> {
  const { request, limits, signal, onProgress } = transfer
  const { size } = await file.stat()
  const part = await fetchPart({ ...request, offset: size, idleTimeoutMs: limits.idleMs, signal }).catch(
    async (error: unknown) => {
      if (!isComplete(error) || size === 0) throw error
      return undefined // 416: there is nothing after what is here.
    },
  )
  if (part === undefined) return
  if (part.offset !== size) await file.truncate(part.offset)

  let at = part.offset
  if ((part.totalBytes ?? 0) > limits.totalBytes) throw tooLarge(limits)
  for await (const chunk of part.body as AsyncIterable<Buffer>) {
    at += chunk.length
    if (at > limits.totalBytes) throw tooLarge(limits)
    await file.appendFile(chunk)
    onProgress('downloading', part.totalBytes === undefined ? undefined : at / part.totalBytes)
  }
  if (part.totalBytes !== undefined && at < part.totalBytes) throw new Error('The connection was cut.')
}

function isComplete(error: unknown): boolean {
  return error instanceof KvasirError && error.details['status'] === 416
}

function tooLarge(limits: DownloadLimits): KvasirError {
  return new KvasirError(
    'download-failed',
    `The file is larger than the ${limits.totalBytes} bytes that are allowed, so the download was stopped.`,
    { details: { tooLarge: true } },
  )
}

async function isVerified({ path, request, signal, onProgress }: Transfer): Promise<boolean> {
  onProgress('verifying', undefined)
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash, { signal })
  return hash.digest('hex') === request.sha256
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}

function explain(
  error: unknown,
  { host, options }: { readonly host: string; readonly options: DownloadOptions },
): unknown {
  if (error instanceof KvasirError) return error
  if (options.signal.aborted) return error
  if (isNoSpace(error)) {
    return new KvasirError('not-enough-space', 'The disk is full, so the download was stopped.', {
      cause: error,
    })
  }
  return new KvasirError(
    'download-failed',
    `The download from ${host} was cut off and can be gone on with.`,
    {
      cause: error,
    },
  )
}
