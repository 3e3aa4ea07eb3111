/** What an order to the hands of a folder that failed means for its pool. */
import { KvasirError } from '@kvasir/contract'
import { GroundError } from './pool-ground.ts'
import { HandsError, PoolHung } from './pool-hands.ts'

/** asm-generic/errno.h: what the kernel says of a file system that is gone: EIO, ENODEV, ENOTCONN, ETIMEDOUT, EHOSTDOWN, ESTALE. */
const gone: ReadonlySet<number | undefined> = new Set([5, 19, 107, 110, 112, 116])
/** EFBIG. */
const tooLarge = 27
const noSpace: ReadonlySet<number | undefined> = new Set([28, 122])

/** Why the pool is gone, if it is. */
export function troubleOf(error: unknown): string | undefined {
  if (error instanceof PoolHung || error instanceof GroundError) return error.message
  if (!(error instanceof HandsError)) return undefined
  if (error.kind === 'folder') return `its folder cannot be opened (${error.message})`
  if (error.kind === 'mark')
    return error.words[0] === ''
      ? 'its folder does not bear its mark; is its file system mounted?'
      : 'its folder bears the mark of another pool'
  return gone.has(error.errno) ? `its file system is gone (${error.message})` : undefined
}

/** What a user is told when a file could not be made or grown. */
export function spaceError(path: string, error: unknown): unknown {
  if (!(error instanceof HandsError)) return error
  if (noSpace.has(error.errno))
    return new KvasirError('not-enough-space', `The disk of ${path} is full, so the file was not written.`, {
      details: { path },
      cause: error,
    })
  if (error.errno === tooLarge)
    return new KvasirError(
      'unsupported',
      `The file ${path} would be larger than its file system lets a file be, so it is as it was.`,
      { details: { path }, cause: error },
    )
  return new KvasirError('host-failed', `The file ${path} was not made: ${error.message}.`, { cause: error })
}

/** EPERM, EACCES */
const forbiddenNumbers: ReadonlySet<number | undefined> = new Set([1, 13])

/** Why a folder is not made a pool; `forbidden` is what to say when root may not. */
export function refusalOf(path: string, error: unknown, forbidden?: string): unknown {
  const refuse = (why: string) =>
    new KvasirError('pool-refused', `The folder ${path} ${why}, so it is not made a pool.`, {
      details: { path },
      cause: error,
    })
  if (error instanceof PoolHung) return refuse(`does not answer: ${error.message}`)
  if (error instanceof GroundError) return refuse(`cannot be used: ${error.message}`)
  if (!(error instanceof HandsError)) return error
  if (forbidden !== undefined && (error.kind === 'owner' || forbiddenNumbers.has(error.errno)))
    return refuse(`cannot be used: ${forbidden}`)
  switch (error.kind) {
    case 'owner':
      return refuse(
        'can be written by others than root (it belongs to UID ' +
          `${error.words[0]} with mode ${error.words[1]}), who could exchange its files`,
      )
    case 'marked':
      return refuse(`is marked as the pool ${error.words[0]} already, of this daemon or another`)
    default:
      return refuse(`cannot be used (${error.message})`)
  }
}
