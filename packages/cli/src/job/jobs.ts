/** The verbs of jobs. */
import type { Job } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { followJob } from '../follow-job.ts'

export const listJobs: Action = async ({ client, output, signal }) => {
  const jobs = await client.call(routes.listJobs, { signal })
  await output.rows<Job>(
    jobs,
    [
      { title: 'ID', show: (job) => job.id },
      { title: 'KIND', show: (job) => job.kind },
      { title: 'SUBJECT', show: (job) => job.subject.name },
      { title: 'STATE', show: (job) => job.state },
      { title: 'DONE', show: percent, right: true },
      { title: 'CREATED', show: (job) => job.createdAt },
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
  const job = await client.call(routes.cancelJob, { params: { id: context.argument('ID') }, signal })
  if (output.format === 'table')
    output.message(`Job ${job.id} is ${job.state === 'running' ? 'being cancelled' : job.state}.`)
  else await output.result(job, () => '')
  return undefined
}

function read(context: Context): Promise<Job> {
  return context.client.call(routes.getJob, {
    params: { id: context.argument('ID') },
    signal: context.signal,
  })
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
    Created: job.createdAt,
    Deadline: job.deadlineAt,
    Ended: job.endedAt,
    Error: job.error === undefined ? undefined : `${job.error.detail} ${job.error.code}`,
    Result: job.result,
  }))
}

function percent(job: Job): string | undefined {
  return job.progress === undefined ? undefined : `${Math.floor(job.progress * 100)} %`
}
