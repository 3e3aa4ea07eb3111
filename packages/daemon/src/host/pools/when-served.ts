/** Waiting until a jailed tool serves volumes over NBD, or has ended with a reason not to. */
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { JailedServer } from '../../ports/jailed-tools.ts'
import { NbdTimeout } from '../nbd/nbd-client.ts'
import { isWrongSecret, wrongSecret } from './encrypted-qcow2.ts'
import { placeOf } from './jailed-chain.ts'
import { isLockRefusal, lockError } from './lock-error.ts'

/** How long opening what is served may take. */
export const openTimeoutMs = 30_000
/** How long it is served at most: a volume of many TB on a slow line. */
export const serveTimeoutMs = 7 * 24 * 3600 * 1000
/** The name of the socket in the server's directory. */
export const servedSocket = 'nbd'
const lookAgainMs = 5

/** What is waited for. */
export interface Served {
  readonly server: JailedServer
  /** What it serves. */
  readonly chain: readonly VolumeSource[]
  readonly signal: AbortSignal
}

/** Tries to connect until that works and gives what came of it. Throws `pool-unreachable` when it takes too long, and why the tool ended. */
export async function whenServed<T>(
  { server, chain, signal }: Served,
  connect: (deadline: AbortSignal) => Promise<T>,
): Promise<T> {
  let ended: Awaited<JailedServer['ended']> | undefined
  void server.ended.then((how) => {
    ended = how
  })
  const cancelled = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await Promise.race([server.begun, cancelled])
  const deadline = AbortSignal.timeout(openTimeoutMs)
  while (ended === undefined) {
    signal.throwIfAborted()
    if (deadline.aborted) throw unreachable(chain, `it was not opened within ${openTimeoutMs / 1000} s`)
    try {
      return await connect(deadline)
    } catch (error) {
      if (error instanceof NbdTimeout) throw unreachable(chain, error.message)
      await sleep(lookAgainMs) // It does not listen yet, or has ended.
    }
  }
  throw await refusalOf(ended, chain)
}

/** What a volume lies on does not answer. */
export function unreachable(chain: readonly VolumeSource[], why: string): KvasirError {
  return new KvasirError('pool-unreachable', `What ${placeOf(chain)} lies on does not answer: ${why}.`)
}

/** Why a tool ended without having served. */
async function refusalOf(
  ended: Awaited<JailedServer['ended']>,
  chain: readonly VolumeSource[],
): Promise<Error> {
  if (ended instanceof Error) return ended
  const { stderr, exitCode } = ended
  if (isLockRefusal(stderr)) return await lockError(chain, 'it is not opened')
  const path = placeOf(chain)
  if (isWrongSecret(stderr)) return wrongSecret(path, 'it is not opened')
  return new KvasirError('host-failed', `QEMU’s tool could not open ${path}, so nothing was done with it.`, {
    details: { path, stderr: stderr.slice(-500) },
    cause: new Error(`It ended with exit code ${exitCode}: ${stderr}`),
  })
}
