/** The verbs that keep a volume in order. */
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { volumeArgument, volumeName } from './volume-address.ts'

export const checkVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const query = startQuery(context)
  const job = await context.client.call(routes.checkVolume, { params, query, signal: context.signal })
  await followJob(context, job, ({ outcome }) => outcome ?? '')
  return undefined
}

export const repairVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const name = volumeName({ pool: params.pool, name: params.volume })
  if (!(await confirm(context, `Repair volume ${name}, which may give up what is damaged?`))) return 1
  const query = startQuery(context)
  const job = await context.client.call(routes.repairVolume, { params, query, signal: context.signal })
  await followJob(context, job, ({ outcome }) => outcome ?? '')
  return undefined
}
