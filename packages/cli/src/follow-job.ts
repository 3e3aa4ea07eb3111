/** Following a job to its end: a bar on a terminal, a line per step elsewhere, only the id with `--detach`. */
import type { Job } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import type { Flag } from './command.ts'
import type { Context } from './context.ts'
import { ProgressBar } from './output/progress-bar.ts'

/** The flag of every command that starts a job. */
export const detachFlag = {
  detach: { summary: 'Print the id of the job and do not wait for it.' },
} as const satisfies Readonly<Record<string, Flag>>

/** How long the daemon may hold the answer that starts a job: most are over by then, and nothing needs to be asked again. */
const holdSeconds = 1

/** The query with which a command starts a job. */
export function startQuery(context: Context): { wait?: number } {
  return context.has('detach') ? {} : { wait: holdSeconds }
}

/** Follows a job, then prints it, or for people the sentence `done` gives. Throws what the job failed with. */
export async function followJob(context: Context, job: Job, done: (job: Job) => string): Promise<void> {
  const { output } = context
  if (context.has('detach')) {
    await output.result(job, () => `${job.id}\n`)
    return
  }
  const ended = await waitVisibly(context, job)
  if (output.format === 'table') output.message(done(ended))
  else await output.result(ended, () => '')
}

async function waitVisibly(context: Context, job: Job): Promise<Job> {
  const { output, client, signal } = context
  using bar = new ProgressBar(output)
  try {
    return await waitForJob(client, job, { signal, onProgress: (at) => bar.show(at) })
  } catch (error) {
    if (signal.aborted) {
      bar[Symbol.dispose]()
      output.message(`Job ${job.id.slice(0, 8)} goes on. Watch it: kvasir job wait ${job.id.slice(0, 8)}`)
    }
    throw error
  }
}
