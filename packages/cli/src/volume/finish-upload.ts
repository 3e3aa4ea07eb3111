/** The end of an upload: the daemon looks at what came, and it is a volume. */
import { routes } from '@kvasir/contract/routes'
import type { VolumePlace } from '@kvasir/sdk'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { volumeName } from './volume-address.ts'

/** Has an upload of which all is there finished, and says so. */
export async function finishUpload(context: Context, params: VolumePlace, what: string): Promise<void> {
  const query = startQuery(context)
  const job = await context.client.call(routes.finishUpload, { params, query, signal: context.signal })
  const name = volumeName({ pool: params.pool, name: params.volume })
  await followJob(context, job, () => `Volume ${name} is uploaded (${what}).`)
}
