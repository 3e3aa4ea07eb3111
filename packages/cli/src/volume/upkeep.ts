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

export const wipeVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const method = context.choice('method', ['zero', 'discard'])
  const name = volumeName({ pool: params.pool, name: params.volume })
  if (!(await confirm(context, `Wipe volume ${name}, so that all that is on it is lost?`))) return 1
  const job = await context.client.call(routes.wipeVolume, {
    params,
    query: startQuery(context),
    body: method === undefined ? {} : { method },
    signal: context.signal,
  })
  await followJob(context, job, ({ outcome }) => `Volume ${name} is wiped. ${outcome ?? ''}`.trim())
  return undefined
}
