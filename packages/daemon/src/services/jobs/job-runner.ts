/**
 * Jobs: long actions with an owner, progress, a deadline, cancel, and a stored row.
 *
 * A job's row is written when it begins and when it ends; progress in between lives in memory and goes out as events, at most a few
 * a second. A job that a former daemon left running is ended by recovery.
 */
import type { Job, JobKind } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { type JobHandle, type JobParts, type JobRequest, LiveJob } from './live-job.ts'

/** Jobs that may run at one time. */
const maxRunningJobs = 256
/** Jobs in the list, newest first. */
const listedJobs = 200

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
  /** Whether a job of one of these kinds works on this thing. */
  isUnderWay(kinds: readonly JobKind[], subjectId: string): boolean
  /** The newest job of a kind that works on this thing. */
  newest(kind: JobKind, subjectId: string): Job | undefined
  /** Ends all jobs: the daemon is leaving. */
  close(): Promise<void>
}

/** The runner over a store. */
export function createJobRunner(parts: JobParts): JobRunner {
  const { store, clock } = parts
  const live = new Map<string, LiveJob>()

  function get(id: string): Job {
    const job = live.get(id)?.job ?? store.jobs.get(id)
    if (!job) throw new KvasirError('job-not-found', `There is no job ${id}.`)
    return job
  }

  return {
    run(request, work) {
      if (live.size >= maxRunningJobs)
        throw new KvasirError('too-many-requests', `${live.size} jobs are running, so no other one is begun.`)
      const entry = new LiveJob(request, parts)
      live.set(entry.id, entry)
      const { job } = entry
      void entry.run(work).finally(() => live.delete(entry.id))
      return job
    },
    get,
    list: () => store.jobs.list(listedJobs).map((job) => live.get(job.id)?.job ?? job),
    async wait(id, waitMs, signal) {
      const entry = live.get(id)
      if (!entry || waitMs <= 0) return get(id)
      const enough = new AbortController()
      const patience = clock.sleep(waitMs, AbortSignal.any([signal, enough.signal])).catch(() => undefined)
      await Promise.race([entry.ended, patience])
      enough.abort()
      return entry.job
    },
    cancel(id) {
      live.get(id)?.abort(new KvasirError('cancelled', `Job ${id} was cancelled.`))
      return get(id)
    },
    running: () => live.size,
    isUnderWay: (kinds, subjectId) =>
      [...live.values()].some(({ job }) => kinds.includes(job.kind) && job.subject.id === subjectId),
    newest: (kind, subjectId) =>
      [...live.values()].findLast(({ job }) => job.kind === kind && job.subject.id === subjectId)?.job,
    async close() {
      const reason = new KvasirError('shutting-down', 'The daemon is shutting down, so the job ends.')
      for (const entry of live.values()) entry.abort(reason)
      await Promise.allSettled([...live.values()].map((entry) => entry.ended))
    },
  }
}
