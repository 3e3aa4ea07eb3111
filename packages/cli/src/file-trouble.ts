/**
 * What the file system of this machine refuses a command, in a sentence: a file that is not there, a folder that may not be written.
 * Commands say it themselves where they know more than its name; the rest ends here instead of as a defect.
 */
import { KvasirError } from '@kvasir/contract/error-table'

/** Numbers of errno(3) by name, with what they say of a path. */
const words: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'is not there, or its folder is not'],
  ['ENOTDIR', 'goes through something that is no folder'],
  ['EISDIR', 'is a folder'],
  ['EEXIST', 'is there already'],
  ['EACCES', 'may not be used by you'],
  ['EPERM', 'may not be used by you'],
  ['EROFS', 'lies on a file system that is read-only'],
  ['ENOSPC', 'has no room left on its file system'],
  ['EDQUOT', 'has no room left for you on its file system'],
  ['EFBIG', 'would be larger than its file system lets a file be'],
  ['ELOOP', 'goes round in circles through links'],
  ['ENAMETOOLONG', 'is too long a name'],
  ['ENXIO', 'is a device or socket that cannot be opened'],
  ['EIO', 'lies on a disk that has trouble'],
])

const noRoom: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

/** The refusal that an error of `node:fs` stands for; undefined for any other error. */
export function fileTrouble(error: unknown): KvasirError | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return undefined
  const code = String(error.code)
  const what = words.get(code)
  if (what === undefined) return undefined
  const path = 'path' in error && typeof error.path === 'string' ? error.path : undefined
  // What is written through a descriptor has no name any more.
  if (path === undefined && !noRoom.has(code)) return undefined
  const kind = noRoom.has(code) ? 'not-enough-space' : code === 'ENOENT' ? 'file-not-found' : 'host-failed'
  return new KvasirError(kind, `${path ?? 'The file'} ${what}, so the command did not end well.`, {
    cause: error,
  })
}
