/**
 * Jobs: long actions with an owner, progress, a deadline, cancel, and a stored row.
 *
 * A job's row is written when it begins and when it ends; progress in between lives in memory and goes out as events, at most a few
 * a second. A job that a former daemon left running is ended by recovery.
 */
import type { Job, JobKind } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Clock } from '../../ports/clock.ts'
import type { Emit } from '../../ports/events.ts'
import type { Log } from '../../ports/log.ts'
import type { Store } from '../../ports/store.ts'

/** Jobs that may run at one time. */
export const maxRunningJobs = 256
/** Progress events of one job are at least this far apart. */
const progressIntervalMs = 250

export interface JobRequest {
  readonly kind: JobKind
  readonly subject: Job['subject']
  readonly owner: string
  readonly deadlineMs: number
}

/** What the work of a job can say and must heed. */
export interface JobHandle {
  readonly id: string
  readonly signal: AbortSignal
  /** Says what is being done, and how far it is from 0 to 1 where that is known. */
  progress(step: string, fraction?: number): void
}

export interface JobRunner {
  /** Begins a job and answers its row at once. The work's answer becomes the job's result. */
  run(request: JobRequest, work: (job: JobHandle) => Promise<string | undefined>): Job
  get(id: string): Job
  list(): readonly Job[]
  /** Waits until the job has ended, the time is over or the signal is aborted; answers the row as it is then. */
  wait(id: string, waitMs: number, signal: AbortSignal): Promise<Job>
  /** Asks a job to stop. Returns at once. */
  cancel(id: string): Job
  running(): number
  /** Ends all jobs: the daemon is leaving. */
  close(): Promise<void>
}

interface Live {
  job: Job
  readonly abort: AbortController
  readonly ended: Promise<void>
}

interface RunnerParts {
  readonly store: Store
  readonly clock: Clock
  readonly emit: Emit
  readonly log: Log
}

/** The runner over a store. */
export function createJobRunner(parts: RunnerParts): JobRunner {
  const { store, clock, emit } = parts
  const live = new Map<string, Live>()

  function run(request: JobRequest, work: (job: JobHandle) => Promise<string | undefined>): Job {
    if (live.size >= maxRunningJobs)
      throw new KvasirError('too-many-requests', `${live.size} jobs are running, so no other one is begun.`)
    const job = newJob(request, clock)
    const abort = new AbortController()
    store.transaction(() => {
      store.jobs.put(job)
      emit('job.started', job.id, { kind: job.kind, subject: job.subject.name })
    })
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const entry: Live = { job, abort, ended }
    live.set(job.id, entry)
    void attempt(entry, request, work).finally(() => {
      live.delete(job.id)
      resolve()
    })
    return job
  }

  async function attempt(
    entry: Live,
    request: JobRequest,
    work: (job: JobHandle) => Promise<string | undefined>,
  ): Promise<void> {
    const deadline = AbortSignal.timeout(request.deadlineMs)
    const signal = AbortSignal.any([entry.abort.signal, deadline])
    let lastProgressMs = Number.NEGATIVE_INFINITY
    const handle: JobHandle = {
      id: entry.job.id,
      signal,
      progress(step, fraction) {
        const { progress: _, ...rest } = entry.job
        entry.job = {
          ...rest,
          step,
          ...(fraction === undefined ? {} : { progress: Math.min(1, Math.max(0, fraction)) }),
        }
        const now = clock.monotonicMs()
        if (now - lastProgressMs < progressIntervalMs) return
        lastProgressMs = now
        emit('job.progress', entry.job.id, {
          step,
          ...(fraction === undefined ? {} : { progress: fraction }),
        })
      },
    }
    try {
      const result = await work(handle)
      finish(entry, { state: 'succeeded', progress: 1, ...(result === undefined ? {} : { result }) })
    } catch (thrown) {
      const error = asRefusal(thrown, entry.job, { deadline, cancelled: entry.abort.signal })
      if (error.code === 'internal')
        parts.log.error({ job: entry.job.id, kind: entry.job.kind, err: thrown }, 'job failed')
      finish(entry, { state: error.code === 'cancelled' ? 'cancelled' : 'failed', error: error.toProblem() })
    }
  }

  function finish(entry: Live, change: Partial<Job>): void {
    entry.job = { ...entry.job, ...change, endedAt: clock.now() }
    const { id, state, error } = entry.job
    try {
      store.transaction(() => {
        store.jobs.put(entry.job)
        emit('job.ended', id, { state, ...(error ? { code: error.code, detail: error.detail } : {}) })
      })
    } catch (storeError) {
      parts.log.error({ job: id, err: storeError }, 'the end of a job could not be stored')
    }
  }

  function get(id: string): Job {
    const job = live.get(id)?.job ?? store.jobs.get(id)
    if (!job) throw new KvasirError('job-not-found', `There is no job ${id}.`)
    return job
  }

  return {
    run,
    get,
    list: () => store.jobs.list(200).map((job) => live.get(job.id)?.job ?? job),
    async wait(id, waitMs, signal) {
      const entry = live.get(id)
      if (entry && waitMs > 0) {
        const enough = new AbortController()
        const patience = clock.sleep(waitMs, AbortSignal.any([signal, enough.signal])).catch(() => undefined)
        await Promise.race([entry.ended, patience])
        enough.abort()
      }
      return entry?.job ?? get(id)
    },
    cancel(id) {
      const entry = live.get(id)
      if (!entry) return get(id)
      entry.abort.abort(new KvasirError('cancelled', `Job ${id} was cancelled.`))
      return entry.job
    },
    running: () => live.size,
    async close() {
      const reason = new KvasirError('shutting-down', 'The daemon is shutting down, so the job ends.')
      for (const entry of live.values()) entry.abort.abort(reason)
      await Promise.allSettled([...live.values()].map((entry) => entry.ended))
    },
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
  return new KvasirError(
    'internal',
    `Job ${job.kind} of ${job.subject.name} met a defect of Kvasir; the log has more.`,
    {
      cause: thrown,
    },
  )
}
