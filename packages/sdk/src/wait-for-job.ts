/** Waiting for a job: asks again the moment it may have moved, ends when it ends, and throws what it failed with. */
import type { Job } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Client } from './client.ts'

/** How long the daemon holds one question about a job, in seconds: the age that shown progress may have. */
const holdSeconds = 1

/** How long after its own deadline a job is still waited for. */
const graceMs = 60_000

/** Waits until a job has ended and gives it. Throws its error when it failed, `cancelled`, or `deadline-exceeded`. */
export async function waitForJob(
  client: Client,
  job: Job,
  options: { readonly onProgress?: (job: Job) => void; readonly signal?: AbortSignal | undefined } = {},
): Promise<Job> {
  let current = job
  while (current.state === 'running') {
    options.onProgress?.(current)
    if (Date.now() > Date.parse(current.deadlineAt) + graceMs) {
      throw new KvasirError('deadline-exceeded', `Job ${job.id} is past its deadline and has not ended.`)
    }
    current = await client.call(routes.getJob, {
      params: { id: job.id },
      query: { wait: holdSeconds },
      signal: options.signal,
    })
  }
  options.onProgress?.(current)
  if (current.error !== undefined) throw KvasirError.fromProblem(current.error)
  if (current.state === 'cancelled') throw new KvasirError('cancelled', `Job ${job.id} was cancelled.`)
  if (current.state === 'failed')
    throw new KvasirError('internal', `Job ${job.id} failed without saying why.`)
  return current
}
