/** Making volumes independent, named by themselves or by the disk of a VM. */
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { UsageError } from '../usage-error.ts'
import { volumeArgument, volumeName } from './volume-address.ts'

export const flattenVolume: Action = async (context) => {
  await flatten(context, volumeArgument(context))
  return undefined
}

export const flattenDisk: Action = async (context) => {
  const [name, disk] = [context.argument('NAME'), context.argument('DISK')]
  const { spec } = await context.client.call(routes.getVm, { params: { name }, signal: context.signal })
  const found = spec.disks.find((one) => one.name === disk)
  if (found?.volume === undefined)
    throw new UsageError(`VM ${name} has no disk ${disk}.`, `See: kvasir vm disk list ${name}`)
  await flatten(context, { pool: found.pool, volume: found.volume })
  return undefined
}

async function flatten(context: Context, params: { pool: string; volume: string }): Promise<void> {
  const { client, signal } = context
  const query = startQuery(context)
  const idempotencyKey = crypto.randomUUID()
  const job = await client.call(routes.flattenVolume, { params, query, signal, idempotencyKey })
  const name = volumeName({ pool: params.pool, name: params.volume })
  await followJob(context, job, () => `Volume ${name} depends on no other.`)
}
