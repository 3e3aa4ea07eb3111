/**
 * Opens a file that lies on what may hang, for a program that gets it: a process that can be killed opens it, and whoever starts the
 * program takes it from there (pidfd_getfd(2)). The daemon itself never has it.
 */
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

/** Opens a regular file through no link. `pool-unreachable` when that takes too long, `host-failed` when it does not go. */
export async function openGuarded(
  path: string,
  how: { readonly access: 'read' | 'read-write'; readonly direct: boolean },
): Promise<GuardedFile> {
  const hands = new Hands({ path: dirname(path), mark: '' })
  try {
    const words = ['open', basename(path), how.access, how.direct ? 1 : ''] as const
    const fd = Number((await hands.order({ words: [...words], timeoutMs: openTimeoutMs })).toString())
    return { pid: hands.pid, fd, release: () => hands.kill() }
  } catch (cause) {
    hands.kill()
    if (cause instanceof PoolHung)
      throw new KvasirError(
        'pool-unreachable',
        `What ${path} lies on does not answer (${cause.message}), so the VM does not get it.`,
        { details: { path }, cause },
      )
    throw new KvasirError('host-failed', `${path} cannot be opened, so the VM does not get it.`, { cause })
  }
}
