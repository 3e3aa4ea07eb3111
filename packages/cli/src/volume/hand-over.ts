/**
 * Files that the daemon copies itself, out of this process's hands, where it runs on this host: nothing of them passes through a connection.
 * Where that does not go on, for whatever reason, what is left is sent as a stream by whoever called.
 */
import type { FileHandle } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { VolumePlace } from '@kvasir/sdk'
import type { Context } from '../context.ts'

/** A call copies for some seconds; where a volume cannot tell whether it has changed, to its end. */
const callTimeoutMs = 24 * 3_600_000

interface Given {
  readonly offsetBytes: number
  readonly sizeBytes: number
  readonly tag?: string | undefined
}

interface TakenFile {
  readonly file: FileHandle
  readonly size: number
  readonly params: VolumePlace
  readonly from: number
  readonly onTaken: (offset: number) => void
}

interface FilledFile {
  readonly file: FileHandle
  readonly params: VolumePlace
  readonly from: { readonly offset: number; readonly tag: string | undefined }
  readonly onGiven: (given: Given) => Promise<void>
}

/** Has a volume filled from a file, from one position on; answers how far that came. */
export async function takeFile(
  { client, signal }: Context,
  { file, size, params, from, onTaken }: TakenFile,
): Promise<number> {
  if (client.address.kind !== 'unix') return from
  const named = await nameOf(file)
  let offset = from
  while (offset < size) {
    const body = { ...named, offset }
    const options = { params, body, timeoutMs: callTimeoutMs, signal }
    const taken = await client.call(routes.takeUpload, options).catch(streamInstead)
    if (taken === undefined) return offset
    offset = taken.offsetBytes
    onTaken(offset)
  }
  return offset
}

/** Has a file filled from a volume; answers its size, or undefined where it is not full. */
export async function giveFile(
  { client, signal }: Context,
  { file, params, from, onGiven }: FilledFile,
): Promise<number | undefined> {
  const named = await nameOf(file)
  let { offset, tag } = from
  while (true) {
    const body = { ...named, offset, ...(tag === undefined ? {} : { tag }) }
    const options = { params, body, timeoutMs: callTimeoutMs, signal }
    const given = await client.call(routes.giveContents, options).catch(streamInstead)
    if (given === undefined) return undefined
    await onGiven(given)
    if (given.offsetBytes === given.sizeBytes) return given.sizeBytes
    offset = given.offsetBytes
    tag = given.tag
  }
}

/** A stream says better what is wrong, and is made again where it breaks; `not-enough-space` is told at once. */
function streamInstead(error: unknown): undefined {
  const codes: readonly string[] = [
    'unsupported',
    'unreachable',
    'shutting-down',
    'busy',
    'too-many-requests',
    'unknown-endpoint',
    'revision-mismatch',
  ]
  if (error instanceof KvasirError && codes.includes(error.code)) return undefined
  throw error
}

async function nameOf(file: FileHandle) {
  const { dev, ino } = await file.stat({ bigint: true })
  return { descriptor: file.fd, device: String(dev), inode: String(ino) }
}
