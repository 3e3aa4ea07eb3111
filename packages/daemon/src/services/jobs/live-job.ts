/**
 * One job that runs: its row, its progress, its deadline, and how it ends. Whatever its work throws becomes a refusal with a code; what
 * cannot be stored of it is logged and does not stop the work.
 */
import type { Job, JobKind, VolumeCheck } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Clock } from '../../ports/clock.ts'
import type { Emit } from '../../ports/events.ts'
import type { Log } from '../../ports/log.ts'
import type { Durability, Store } from '../../ports/store.ts'
import { refusalFrom } from '../refusal-of.ts'

/** Progress is told so long after the job's begin and after what was told last: a short job costs the store no more than its two ends. */
const progressIntervalMs = 250

export interface JobRequest {
  readonly kind: JobKind
  readonly subject: Job['subject']
  readonly owner: string
  readonly deadlineMs: number
  /** Writes what is to be known exactly when the job is, in the transaction that begins it. */
  readonly alongside?: ((job: Job) => void) | undefined
  /** What its beginning outlives; the host unless said. */
  readonly durability?: Durability | undefined
}

/** What the work of a job can say and must heed. */
export interface JobHandle {
  readonly id: string
  readonly signal: AbortSignal
  /** Says what is being done, and how far it is from 0 to 1 where that is known. */
  progress(step: string, fraction?: number): void
  /** Says what came of it, in words; the last word counts. */
  outcome(words: string): void
  /** Says what was found in a volume; the job's row has it when it ends, however it ends. */
  found(check: VolumeCheck): void
  /** Writes what the work came to, and that the job has succeeded with a result, in one transaction. The last thing but for tidying. */
  conclude(result: string, write: () => void): void
  /** As `conclude`, for what has a transaction of its own: there it writes what it is given. */
  concludeIn(result: string, transact: (writeEnd: () => void) => void): void
}

export interface JobParts {
  readonly store: Store
  readonly clock: Clock
  readonly emit: Emit
  readonly log: Log
}

export class LiveJob {
  readonly id: string
  readonly ended: Promise<void>
  readonly #parts: JobParts
  readonly #request: JobRequest
  readonly #abort = new AbortController()
  /** Aborted when the job has ended. */
  readonly #over = new AbortController()
  readonly #settleEnded: () => void
  #job: Job
  /** Whether there is progress that is to be told soon. */
  #willTell = false

  constructor(request: JobRequest, parts: JobParts) {
    this.#parts = parts
    this.#request = request
    this.#job = newJob(request, parts.clock)
    this.id = this.#job.id
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    this.#settleEnded = resolve
    parts.store.transaction(() => {
      parts.store.jobs.put(this.#job)
      request.alongside?.(this.#job)
      parts.emit('job.started', this.id, { kind: request.kind, subject: request.subject.name })
    }, request.durability)
  }

  /** The row as it stands now. */
  get job(): Job {
    return this.#job
  }

  abort(reason: KvasirError): void {
    this.#abort.abort(reason)
  }

  /** Does the work. Never throws: how it went is in the row. */
  async run(work: (job: JobHandle) => Promise<string | undefined>): Promise<void> {
    const deadline = AbortSignal.timeout(this.#request.deadlineMs)
    const signal = AbortSignal.any([this.#abort.signal, deadline])
    try {
      const progress: JobHandle['progress'] = (step, fraction) => this.#progress(step, fraction)
      const conclude: JobHandle['conclude'] = (result, write) => this.#conclude(result, write)
      const concludeIn: JobHandle['concludeIn'] = (result, transact) => this.#concludeIn(result, transact)
      const outcome: JobHandle['outcome'] = (words) => {
        this.#job = { ...this.#job, outcome: words }
      }
      const found: JobHandle['found'] = (check) => {
        this.#job = { ...this.#job, check }
      }
      const result = await work({ id: this.id, signal, progress, outcome, found, conclude, concludeIn })
      if (this.#job.state === 'running')
        this.#finish({ state: 'succeeded', progress: 1, ...(result === undefined ? {} : { result }) })
    } catch (thrown) {
      const error = asRefusal(thrown, this.#job, { deadline, cancelled: this.#abort.signal })
      if (error !== thrown && error.code !== 'cancelled')
        this.#parts.log.error({ job: this.id, kind: this.#job.kind, err: thrown }, 'job failed')
      else if (error.cause !== undefined)
        this.#parts.log.warn(
          { job: this.id, kind: this.#job.kind, err: error.cause },
          'why a job was refused',
        )
      const state = error.code === 'cancelled' ? 'cancelled' : 'failed'
      if (this.#job.state === 'running') this.#finish({ state, error: error.toProblem() })
    }
    this.#over.abort()
    this.#settleEnded()
  }

  #progress(step: string, fraction: number | undefined): void {
    const { progress: _, ...rest } = this.#job
    const known = fraction === undefined ? {} : { progress: Math.min(1, Math.max(0, fraction)) }
    this.#job = { ...rest, step, ...known }
    if (!this.#willTell) void this.#tellSoon()
  }

  /** Tells where the job is by then. */
  async #tellSoon(): Promise<void> {
    this.#willTell = true
    try {
      await this.#parts.clock.sleep(progressIntervalMs, this.#over.signal)
    } catch {
      return // Its end says more.
    }
    this.#willTell = false
    const { step, progress } = this.#job
    this.#keep('progress', () =>
      this.#parts.emit('job.progress', this.id, { step, ...(progress === undefined ? {} : { progress }) }),
    )
  }

  #conclude(result: string, write: () => void): void {
    this.#concludeIn(result, (writeEnd) =>
      this.#parts.store.transaction(() => {
        write()
        writeEnd()
      }),
    )
  }

  #concludeIn(result: string, transact: (writeEnd: () => void) => void): void {
    const endedAt = this.#parts.clock.now()
    const ended: Job = { ...this.#job, state: 'succeeded', progress: 1, result, endedAt }
    transact(() => this.#writeEnd(ended))
    this.#job = ended
  }

  #finish(change: Partial<Job>): void {
    this.#job = { ...this.#job, ...change, endedAt: this.#parts.clock.now() }
    this.#keep('end', () => this.#parts.store.transaction(() => this.#writeEnd(this.#job)))
  }

  /** A job that ended because the daemon leaves was not refused: who asks again under its key gets another. */
  #writeEnd(ended: Job): void {
    const { store, emit } = this.#parts
    const { state, error } = ended
    store.jobs.put(ended)
    if (error?.code === 'shutting-down') store.idempotency.forgetJob(this.id)
    emit('job.ended', this.id, { state, ...(error ? { code: error.code, detail: error.detail } : {}) })
  }

  /** Stores something of the job; a store that cannot be written must not end what the job does. */
  #keep(what: string, write: () => void): void {
    try {
      write()
    } catch (error) {
      this.#parts.log.error({ job: this.id, err: error }, `the ${what} of a job could not be stored`)
    }
  }
}

function newJob(request: JobRequest, clock: Clock): Job {
  const createdAt = clock.now()
  return {
    id: clock.uuid(),
    kind: request.kind,
    subject: request.subject,
    state: 'running',
    owner: request.owner,
    step: 'waiting for its turn',
    createdAt,
    deadlineAt: new Date(Date.parse(createdAt) + request.deadlineMs).toISOString(),
  }
}

function asRefusal(
  thrown: unknown,
  job: Job,
  signals: { readonly deadline: AbortSignal; readonly cancelled: AbortSignal },
): KvasirError {
  if (signals.cancelled.aborted && signals.cancelled.reason instanceof KvasirError)
    return signals.cancelled.reason
  if (thrown instanceof KvasirError) return thrown
  if (signals.deadline.aborted)
    return new KvasirError(
      'deadline-exceeded',
      `Job ${job.kind} of ${job.subject.name} took longer than it may, so it was ended.`,
      { cause: thrown },
    )
  const refusal = refusalFrom(thrown)
  if (refusal) return refusal
  return new KvasirError(
    'internal',
    `Job ${job.kind} of ${job.subject.name} met a defect of Kvasir; the log has more.`,
    {
      cause: thrown,
    },
  )
}
