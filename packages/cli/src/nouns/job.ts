/** The table of `kvasir job`. */
import type { Verbs } from '../command.ts'

const id = { name: 'ID', completes: 'job' } as const
const actions = () => import('../job/jobs.ts')

export const jobVerbs: Verbs = {
  list: { summary: 'Jobs, newest first.', load: async () => (await actions()).listJobs },
  show: { summary: 'One job.', arguments: [id], load: async () => (await actions()).showJob },
  wait: {
    summary: 'Wait until a job ends; exits as it ended.',
    arguments: [id],
    load: async () => (await actions()).waitJob,
  },
  cancel: { summary: 'Cancel a job.', arguments: [id], load: async () => (await actions()).cancelJob },
}
