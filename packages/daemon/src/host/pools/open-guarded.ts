/**
 * Opens a file that lies on what may hang, for a program that gets it: a process that can be killed opens it, and whoever starts the
 * program takes it from there (pidfd_getfd(2)). The daemon itself never has it.
 */
import { realpath } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { Hands, PoolHung } from './pool-hands.ts'

const openTimeoutMs = 5_000

/** An open file in another process, for as long as it is not released. */
export interface GuardedFile {
  readonly pid: number
  readonly fd: number
  release(): void
}

/** How a file is opened. */
export interface GuardedOpening {
  readonly access: 'read' | 'read-write'
  readonly direct: boolean
  /** It is a block device, which udev's links lead to; otherwise no link is followed. */
  readonly device?: true
  /** The UID of the program that gets it. On NFS, what is opened to be written becomes that user's. */
  readonly user: number
}

/** Opens a regular file, or a block device where one is asked for. `pool-unreachable` when that takes too long, `host-failed` when it does not go. */
export async function openGuarded(path: string, how: GuardedOpening): Promise<GuardedFile> {
  const place = how.device ? await nodeOf(path) : path
  const hands = new Hands({ path: dirname(place), mark: '' })
  try {
    const kind = how.device ? 'device' : 'file'
    const words = ['open', basename(place), how.access, how.direct ? 1 : '', kind, how.user] as const
    const fd = Number((await hands.order({ words: [...words], timeoutMs: openTimeoutMs })).toString())
    return { pid: hands.pid, fd, release: () => hands.kill() }
  } catch (cause) {
    hands.kill()
    if (cause instanceof PoolHung) throw unreachable(path, cause)
    throw new KvasirError('host-failed', `${path} cannot be opened, so the VM does not get it.`, { cause })
  }
}

/**
 * The first bytes of a file, or of a block device where one is asked for, and how large it is: what another process could read of it. Undefined
 * for what cannot be read. `pool-unreachable` when that takes too long.
 */
export async function beginningGuarded(
  path: string,
  { lengthBytes, device }: { readonly lengthBytes: number; readonly device?: true | undefined },
): Promise<{ readonly bytes: Uint8Array; readonly sizeBytes: number } | undefined> {
  const place = device ? await realpath(path).catch(() => undefined) : path
  if (place === undefined) return undefined
  const hands = new Hands({ path: dirname(place), mark: '' })
  try {
    const words = ['beginning', basename(place), lengthBytes] as const
    const answer = await hands.order({ words, timeoutMs: openTimeoutMs })
    const end = answer.indexOf(0)
    return { sizeBytes: Number(answer.subarray(0, end).toString()), bytes: answer.subarray(end + 1) }
  } catch (error) {
    if (error instanceof PoolHung) throw unreachable(path, error)
    return undefined
  } finally {
    hands.kill()
  }
}

function unreachable(path: string, cause: PoolHung): KvasirError {
  return new KvasirError(
    'pool-unreachable',
    `What ${path} lies on does not answer (${cause.message}), so the VM does not get it.`,
    { details: { path }, cause },
  )
}

/** Where the links of a device lead. They lie in the kernel's own /dev, which does not hang. */
async function nodeOf(path: string): Promise<string> {
  return await realpath(path).catch((cause: unknown) => {
    throw new KvasirError('host-failed', `There is no device ${path}, so the VM does not get it.`, { cause })
  })
}
