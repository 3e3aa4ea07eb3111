/**
 * What is known of the pools: each is looked at now and then and when something was amiss, and what is seen is kept here, so that
 * showing a pool never waits for it.
 *
 *     inactive ──start──▶ active ◀──it answers──┐
 *         ▲                 │ └──it does not──▶ unreachable
 *         └──────stop───────┴───────stop─────────────┘
 *
 * A pool's row says whether it is started; whether it answers is only ever in memory. When one answers again, the volumes that could
 * not be removed from it meanwhile are.
 */
import type { PoolFinding, PoolState } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Emit } from '../../ports/events.ts'
import type { PoolSpace } from '../../ports/pools.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord } from '../../ports/store.ts'

/** Started pools are looked at this often. */
const watchMs = 10_000

/** What was last seen of a pool. */
export interface SeenPool {
  readonly state: PoolState
  readonly reason: string
  readonly since: string
  readonly space: PoolSpace | undefined
  /** When it last answered. */
  readonly seenAt: string | undefined
  readonly findings: readonly PoolFinding[] | undefined
}

export interface PoolDeskParts {
  readonly ports: Ports
  readonly emit: Emit
  /** A pool answers that did not before, or is seen for the first time. */
  readonly onAnswer: (pool: PoolRecord) => Promise<void>
}

export class PoolDesk {
  readonly #parts: PoolDeskParts
  readonly #seen = new Map<string, SeenPool>()
  readonly #probes = new Map<string, Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: PoolDeskParts) {
    this.#parts = parts
    parts.ports.pools.onUnreachable((id, reason) => this.#noteUnreachable(id, reason))
  }

  /** What is known of a pool now. */
  seen(pool: PoolRecord): SeenPool {
    const known = this.#seen.get(pool.id)
    if (!pool.started) {
      if (known?.state === 'inactive') return known
      return {
        ...nothing,
        state: 'inactive',
        reason: 'it is not started',
        since: known?.since ?? pool.createdAt,
      }
    }
    return (
      known ?? { ...nothing, state: 'unreachable', reason: 'it has not answered yet', since: pool.createdAt }
    )
  }

  /** Looks at a pool now, whatever was known of it; who asks meanwhile waits for the same look. Never throws. */
  async probe(pool: PoolRecord): Promise<SeenPool> {
    const under = this.#probes.get(pool.id)
    const { log } = this.#parts.ports
    const look = () =>
      this.#look(pool)
        .catch((error: unknown) =>
          log.error({ pool: pool.name, err: error }, 'what was seen of a pool is not kept'),
        )
        .finally(() => this.#probes.delete(pool.id))
    const probe = under ?? look()
    if (!under) this.#probes.set(pool.id, probe)
    await probe
    return this.seen(pool)
  }

  /** Keeps what a refresh found. */
  noteFindings(pool: PoolRecord, findings: readonly PoolFinding[]): void {
    this.#seen.set(pool.id, { ...this.seen(pool), findings })
  }

  /** The pool was stopped. */
  noteStopped(pool: PoolRecord): void {
    const { space: _, ...known } = this.seen({ ...pool, started: true })
    this.#write(pool, { ...known, space: undefined, state: 'inactive', reason: 'it was stopped' })
  }

  forget(pool: PoolRecord): void {
    this.#seen.delete(pool.id)
    this.#parts.ports.pools.forget(pool.id)
  }

  /** Finishes what was begun with pools, then looks at all started ones from now on. */
  async begin(settle: () => Promise<void>): Promise<void> {
    if (this.#isClosed) return
    this.#lookAtAll()
    this.#timer = setInterval(() => this.#lookAtAll(), watchMs).unref()
    await settle().catch((error: unknown) =>
      this.#parts.ports.log.error({ err: error }, 'what was begun with pools could not be looked for'),
    )
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#parts.ports.pools.close()
  }

  #lookAtAll(): void {
    const { log, store } = this.#parts.ports
    try {
      // One that is being made bears no mark yet: who makes it would be told that it is gone.
      for (const pool of store.pools.list())
        if (pool.started && pool.phase !== 'creating') void this.probe(pool)
    } catch (error) {
      log.error({ err: error }, 'the pools could not be looked at')
    }
  }

  async #look(pool: PoolRecord): Promise<void> {
    const { ports, onAnswer } = this.#parts
    try {
      const space = await ports.pools.of(pool).inspect()
      if (!this.#isStarted(pool)) return
      const before = this.#seen.get(pool.id)
      const seenAt = ports.clock.now()
      this.#write(pool, {
        ...this.seen(pool),
        state: 'active',
        reason: 'it answers',
        space,
        seenAt,
      })
      if (before?.state !== 'active') await onAnswer(pool)
    } catch (error) {
      const reason = reasonOf(error)
      ports.log.debug({ pool: pool.name, err: error }, 'a pool does not answer')
      if (this.#isStarted(pool)) this.#noteUnreachable(pool.id, reason)
    }
  }

  /** A pool that was stopped or deleted meanwhile is not told of. */
  #isStarted(pool: PoolRecord): boolean {
    return !this.#isClosed && this.#parts.ports.store.pools.get(pool.id)?.started === true
  }

  #noteUnreachable(poolId: string, reason: string): void {
    if (this.#isClosed) return
    const pool = this.#parts.ports.store.pools.get(poolId)
    if (!pool?.started || pool.phase !== 'ready') return
    this.#write(pool, { ...this.seen(pool), state: 'unreachable', reason })
  }

  #write(pool: PoolRecord, next: SeenPool): void {
    const { clock } = this.#parts.ports
    const before = this.#seen.get(pool.id)
    const isNews = before?.state !== next.state
    this.#seen.set(pool.id, { ...next, since: isNews || !before ? clock.now() : before.since })
    if (isNews && !(before === undefined && next.state === 'active')) this.#tell(pool, before?.state, next)
  }

  #tell(pool: PoolRecord, from: PoolState | undefined, { state, reason }: SeenPool): void {
    const { emit, ports } = this.#parts
    try {
      emit('pool.state', pool.name, { state, reason, ...(from === undefined ? {} : { from }) })
    } catch (error) {
      ports.log.error({ pool: pool.name, err: error }, 'the state of a pool could not be told')
    }
    ports.log[state === 'unreachable' ? 'warn' : 'info'](
      { pool: pool.name, state, reason },
      'a pool has another state',
    )
  }
}

const nothing = { space: undefined, seenAt: undefined, findings: undefined }

function reasonOf(error: unknown): string {
  if (error instanceof KvasirError && typeof error.details['reason'] === 'string')
    return error.details['reason']
  return error instanceof Error ? error.message : String(error)
}
