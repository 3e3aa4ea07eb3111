/**
 * The end of an upload: the daemon clears what lies behind it, looks at what came, and it is a volume. All of it is there already, so a
 * daemon that dies meanwhile is asked again when there is one.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract/error-table'
import { routes } from '@kvasir/contract/routes'
import type { VolumePlace } from '@kvasir/sdk'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { isBroken } from './download.ts'
import { volumeName } from './volume-address.ts'

const mostAttempts = 10
const againMs = 1_000

/** Has an upload of which all is there finished, and says so. */
export async function finishUpload(context: Context, params: VolumePlace, what: string): Promise<void> {
  const { client, output, signal } = context
  const query = startQuery(context)
  const done = `Volume ${volumeName({ pool: params.pool, name: params.volume })} is uploaded (${what}).`
  for (let attempt = 1; ; attempt++)
    try {
      if (attempt > 1 && (await client.call(routes.getVolume, { params, signal })).upload === undefined) {
        output.message(done) // It had come to its end, and only nobody was told.
        return
      }
      const job = await client.call(routes.finishUpload, { params, query, signal })
      await followJob(context, job, () => done)
      return
    } catch (error) {
      if (!(isBroken(error) || isForgotten(error)) || attempt >= mostAttempts) throw error
      await sleep(againMs, undefined, { signal })
    }
}

/** Another daemon has none of the jobs of the last one. */
function isForgotten(error: unknown): boolean {
  return error instanceof KvasirError && error.code === 'job-not-found'
}
