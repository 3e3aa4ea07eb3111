/** The verbs of jobs. */
import type { Job } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { followJob } from '../follow-job.ts'
import { localTime } from '../output/time.ts'
import { UsageError } from '../usage-error.ts'

export const listJobs: Action = async ({ client, output, signal }) => {
  const jobs = await client.call(routes.listJobs, { signal })
  await output.rows<Job>(
    jobs,
    [
      { title: 'ID', show: (job) => shortId(job.id, jobs) },
      { title: 'KIND', show: (job) => job.kind },
      { title: 'SUBJECT', show: (job) => job.subject.name },
      { title: 'STATE', show: (job) => job.state },
      { title: 'DONE', show: percent, right: true },
      { title: 'CREATED', show: (job) => localTime(job.createdAt) },
      { title: 'STEP', show: (job) => job.error?.detail ?? job.step },
    ],
    'There are no jobs.',
  )
  return undefined
}

export const showJob: Action = async (context) => {
  await print(context, await read(context))
  return undefined
}

export const waitJob: Action = async (context) => {
  await followJob(
    context,
    await read(context),
    (job) => `Job ${job.id} (${job.kind} ${job.subject.name}) succeeded.`,
  )
  return undefined
}

export const cancelJob: Action = async (context) => {
  const { client, output, signal } = context
  const id = await idOf(context)
  const before = await client.call(routes.getJob, { params: { id }, signal })
  const job = await client.call(routes.cancelJob, { params: { id }, signal })
  if (output.format === 'table') output.message(cancelled(before, job))
  else await output.result(job, () => '')
  return undefined
}

function cancelled(before: Job, { id, state }: Job): string {
  if (before.state !== 'running')
    return `Job ${id} had ended already (${state}), so there was nothing to cancel.`
  return state === 'running' ? `Job ${id} is being cancelled.` : `Job ${id} has ended: ${state}.`
}

async function read(context: Context): Promise<Job> {
  return await context.client.call(routes.getJob, {
    params: { id: await idOf(context) },
    signal: context.signal,
  })
}

/** The id that is meant: a whole one, or the beginning of the only job that has it. */
async function idOf(context: Context): Promise<string> {
  const { client, signal } = context
  const written = context.argument('ID').toLowerCase()
  if (!/^[0-9a-f-]{4,35}$/.test(written)) return written
  const meant = (await client.call(routes.listJobs, { signal })).filter((job) => job.id.startsWith(written))
  const [only, ...others] = meant
  if (only === undefined)
    throw new KvasirError('job-not-found', `There is no job whose id begins with ${written}.`)
  if (others.length > 0)
    throw new UsageError(
      `${meant.length} jobs have ids that begin with ${written}.`,
      `Write more of it: ${meant.map((job) => job.id).join(', ')}.`,
    )
  return only.id
}

/** As much of an id as tells it apart from the others, at least eight characters. */
export function shortId(id: string, jobs: readonly Job[]): string {
  const isTaken = (length: number): boolean =>
    jobs.some((other) => other.id !== id && other.id.startsWith(id.slice(0, length)))
  let length = 8
  while (length < id.length && isTaken(length)) length++
  return id.slice(0, length)
}

async function print({ output }: Context, job: Job): Promise<void> {
  await output.properties(job, () => ({
    ID: job.id,
    Kind: job.kind,
    Subject: `${job.subject.kind} ${job.subject.name}`,
    State: job.state,
    Step: job.step,
    Done: percent(job),
    Owner: job.owner,
    Created: localTime(job.createdAt),
    Deadline: job.endedAt === undefined ? localTime(job.deadlineAt) : undefined,
    Ended: job.endedAt === undefined ? undefined : localTime(job.endedAt),
    Error: job.error === undefined ? undefined : `${job.error.detail} (${job.error.code})`,
    Result: job.result,
  }))
}

function percent(job: Job): string | undefined {
  return job.progress === undefined ? undefined : `${Math.floor(job.progress * 100)} %`
}
