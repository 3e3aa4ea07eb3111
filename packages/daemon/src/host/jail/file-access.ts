/**
 * Lets jailed tools read or write files that are root's.
 *
 * The files stay root's; the group of all jailed tools, which nothing else on the host has, is let in. That is said once and holds, so
 * two tools can read one base and nothing is to be undone after a kill. Invariant: the files lie in directories that only root can
 * enter, or write, so a tool reaches those that are bound into its jail and no others.
 *
 * A file below `localRoot` is the daemon's own; any other may lie on what hangs, so a process that can be killed touches it.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, sep } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { Hands, HandsError } from '../pools/pool-hands.ts'

const readableByAll = 0o004
const groupReads = 0o640
const groupWrites = 0o660
const rootOnly = 0o600
const handsTimeoutMs = 5_000

/** A file and where those lie that the daemon may touch itself; all of them when nothing is said. */
export interface AccessedFile {
  readonly path: string
  readonly localRoot?: string | undefined
}

/** Lets the group read a regular file, unless everybody may. Throws `file-not-found` or `image-refused`. */
export async function letRead(file: AccessedFile, gid: number): Promise<void> {
  await permit(file, { gid, mode: groupReads, unless: readableByAll })
}

/** Lets the group write a regular file. Throws `file-not-found` or `image-refused`. */
export async function letWrite(file: AccessedFile, gid: number): Promise<void> {
  await permit(file, { gid, mode: groupWrites, unless: 0 })
}

/** Takes a file back for root alone. */
export async function takeBack(file: AccessedFile): Promise<void> {
  await permit(file, { gid: 0, mode: rootOnly, unless: 0 })
}

interface Permission {
  readonly gid: number
  readonly mode: number
  /** A mode with which nothing needs to be done. */
  readonly unless: number
}

async function permit({ path, localRoot }: AccessedFile, permission: Permission): Promise<void> {
  if (localRoot !== undefined && !path.startsWith(localRoot + sep))
    return await permitByHands(path, permission)
  const { gid, mode, unless } = permission
  await using file = await openRegular(path)
  if (((await file.stat()).mode & unless) !== 0) return
  await file.chown(0, gid)
  await file.chmod(mode)
}

async function permitByHands(path: string, { gid, mode, unless }: Permission): Promise<void> {
  const hands = new Hands({ path: dirname(path), mark: '' })
  try {
    await hands.order({ words: ['permit', basename(path), gid, mode, unless], timeoutMs: handsTimeoutMs })
  } catch (error) {
    if (!(error instanceof HandsError)) throw error
    throw error.errno === invalid ? notRegular(path) : notThere(path, error)
  } finally {
    hands.kill()
  }
}

/** EINVAL, by which the hands say that it is not a regular file. */
const invalid = 22

async function openRegular(path: string): Promise<FileHandle> {
  // Not through a link, and without waiting for the other end of a FIFO.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch((cause: unknown) => {
    throw notThere(path, cause)
  })
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw notRegular(path)
}

function notThere(path: string, cause: unknown): KvasirError {
  const sentence = `The file ${path} cannot be opened, so no tool works on it.`
  return new KvasirError('file-not-found', sentence, { details: { path }, cause })
}

function notRegular(path: string): KvasirError {
  return new KvasirError('image-refused', `${path} is no regular file, so no tool works on it.`, {
    details: { path },
  })
}
