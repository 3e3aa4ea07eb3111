/**
 * Lets jailed tools read or write files that are root's.
 *
 * The files stay root's; the group of all jailed tools, which nothing else on the host has, is let in. That is said once and holds, so
 * two tools can read one base and nothing is to be undone after a kill. Invariant: the files lie in directories that only root can
 * enter, so a tool reaches those that are bound into its jail and no others.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'

const readableByAll = 0o004
const groupReads = 0o640
const groupWrites = 0o660
const rootOnly = 0o600

/** Lets the group read a regular file, unless everybody may. Throws `file-not-found` or `image-refused`. */
export async function letRead(path: string, gid: number): Promise<void> {
  await using file = await openRegular(path)
  if (((await file.stat()).mode & readableByAll) !== 0) return
  await file.chown(0, gid)
  await file.chmod(groupReads)
}

/** Lets the group write a regular file. Throws `file-not-found` or `image-refused`. */
export async function letWrite(path: string, gid: number): Promise<void> {
  await using file = await openRegular(path)
  await file.chown(0, gid)
  await file.chmod(groupWrites)
}

/** Takes a file back for root alone. */
export async function takeBack(path: string): Promise<void> {
  await using file = await openRegular(path)
  await file.chown(0, 0)
  await file.chmod(rootOnly)
}

async function openRegular(path: string): Promise<FileHandle> {
  // Not through a link, and without waiting for the other end of a FIFO.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch((cause: unknown) => {
    throw new KvasirError('file-not-found', `The file ${path} cannot be opened, so no tool works on it.`, {
      details: { path },
      cause,
    })
  })
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new KvasirError('image-refused', `${path} is no regular file, so no tool works on it.`, {
    details: { path },
  })
}
