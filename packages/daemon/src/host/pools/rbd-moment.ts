/**
 * Snapshots of several RBD images at one moment, by a process that has opened them before (rbd-moment.py): what the moment takes is then
 * what Ceph takes for it, some 50 ms, during which librbd holds back the writes of whoever has an image open.
 *
 * Not here: which images, and what is made of the snapshots (rbd-images.ts).
 */
import { join } from 'node:path'
import type { CephPlace } from '../../model/storage/ceph-place.ts'
import type { Moment } from '../../ports/pools.ts'
import { CephGone, CephRefused, type CephTools } from './ceph-tools.ts'
import { WaitingProgram } from './waiting-program.ts'

const program = join(import.meta.dirname, 'rbd-moment.py')

/** An image, and the name of the snapshot that is to be taken of it. */
export interface WantedSnapshot {
  readonly image: string
  readonly snapshot: string
}

/** Opens images, so that a snapshot of each can be taken at one moment. `CephRefused`, `pool-unreachable`. */
export async function openMoment(
  tools: CephTools,
  where: CephPlace,
  wanted: readonly WantedSnapshot[],
): Promise<Moment> {
  return await tools.reach(async () => {
    const { conf, keyring } = await tools.login()
    const images = wanted.flatMap(({ image, snapshot }) => [image, snapshot])
    const args = [program, conf, keyring, where.user, where.cephPool, where.namespace ?? '', ...images]
    // It ends with us. One that is killed counts as having the images open for 30 s more, and whoever changes them waits for it.
    const waiting = new WaitingProgram({
      argv: ['setpriv', '--pdeathsig', 'KILL', '--', 'python3', '-I', ...args],
      deadlineMs: tools.deadlineMs,
      hung: () => new CephGone(`it did not answer within ${tools.deadlineMs / 1000} s`),
      refused: (number, words) => new CephRefused(number, words),
    })
    try {
      await waiting.expect('ready')
    } catch (error) {
      await waiting.end()
      throw error
    }
    return {
      take: () => tools.reach(() => waiting.order('taken')),
      [Symbol.asyncDispose]: () => waiting.end(),
    }
  })
}
