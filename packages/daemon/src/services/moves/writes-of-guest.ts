/**
 * What a guest does while its disk is copied: how far the copy is, told to the job; writes that are held back where the copy would
 * never get to the end; and a pool that does not answer, in which case the disk stays where it is.
 */
import { formatBytes, KvasirError } from '@kvasir/contract'
import { CopyBrake } from '../../model/storage/copy-brake.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { MirrorProgress } from '../../ports/emulator-mirrors.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { type CopyRecord, copyNow } from './move-rows.ts'

/** A copy that is no further after this is asked about in its pool. */
const standstillMs = 10_000
const noBound = { bytesWrite: 2 ** 50 }

interface Work {
  readonly driver: Driver
  readonly context: Context
  readonly job: JobHandle
}

/** Disposed, the disk has the limits of its spec again. */
export class WritesOfGuest implements AsyncDisposable {
  readonly #work: Work
  readonly #brake = new CopyBrake()
  #held: { readonly name: string; readonly copyId: string; readonly bytesWrite: number } | undefined
  #furthest = { copiedBytes: -1, atMs: 0 }

  constructor({ driver, context, job }: Work) {
    this.#work = { driver, context, job }
  }

  /** Notes how far a copy is, and does what follows from it. `pool-unreachable`. */
  async note(copy: CopyRecord, { copiedBytes, totalBytes, isSame }: MirrorProgress): Promise<void> {
    const { job, context } = this.#work
    const { disk } = copy.move
    const atMs = context.ports.clock.monotonicMs()
    const leftBytes = totalBytes - copiedBytes
    if (leftBytes > 0) await this.#lookAtStandstill(copy, { copiedBytes, atMs })
    const bytesWrite = this.#brake.next({ atMs, copiedBytes, leftBytes })
    if (bytesWrite !== undefined) {
      this.#held = { name: disk, copyId: copy.id, bytesWrite }
      await this.#work.driver.view().emulator?.disks.throttle(new Map([[disk, { bytesWrite }]]))
    }
    const most = this.#held && `${formatBytes(this.#held.bytesWrite)}/s`
    const how = most === undefined ? '' : `; its guest writes ${most} at most meanwhile`
    const what = isSame ? 'going over with' : 'copying'
    job.progress(`${what} disk ${disk}${how}`, totalBytes === 0 ? 0 : copiedBytes / totalBytes)
  }

  /** Taking limits away waits for all requests, those of a copy that hangs too, so as long as there is one they only are no bound. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { driver, context } = this.#work
    const { record, emulator } = driver.view()
    if (this.#held === undefined || !emulator) return
    const { name, copyId } = this.#held
    const disk = record.spec.disks.find((one) => one.name === name)
    const isLeft = copyNow(copyId, context.ports.store) !== undefined
    const limits = isLeft && disk?.throttle === undefined ? noBound : disk?.throttle
    // An emulator that does not answer is told when it is adopted.
    await emulator.disks.throttle(new Map([[name, limits]])).catch(() => undefined)
  }

  /** A pool that hangs is no reason to wait for ever. */
  async #lookAtStandstill(copy: CopyRecord, now: { copiedBytes: number; atMs: number }): Promise<void> {
    const { context } = this.#work
    if (now.copiedBytes !== this.#furthest.copiedBytes) this.#furthest = now
    if (now.atMs - this.#furthest.atMs < standstillMs) return
    this.#furthest = now
    const pool = context.ports.store.pools.findByName(copy.pool)
    const seen = pool && (await context.pools.probe(pool))
    if (seen?.state !== 'unreachable') return
    throw new KvasirError(
      'pool-unreachable',
      `Pool ${copy.pool} does not answer (${seen.reason}), so disk ${copy.move.disk} stays where it is.`,
      { details: { pool: copy.pool } },
    )
  }
}
