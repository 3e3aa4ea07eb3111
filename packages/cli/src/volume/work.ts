/** The verbs that do something to a volume. */
import { routes } from '@kvasir/contract/routes'
import { formatBytes, parseBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { UsageError } from '../usage-error.ts'
import { parseVolume, volumeArgument, volumeName } from './volume-address.ts'

export const resizeVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const { client, output, signal } = context
  const shrink = context.has('shrink')
  const name = volumeName({ pool: params.pool, name: params.volume })
  const size = await wantedSize(context.argument('SIZE'), async () => {
    return (await client.call(routes.getVolume, { params, signal })).capacityBytes
  })
  if (shrink && !(await confirm(context, `Make ${name} ${formatBytes(size)} and lose what lies beyond?`)))
    return 1
  const volume = await client.call(routes.resizeVolume, { params, body: { size, shrink }, signal })
  if (output.format === 'table') output.message(`Volume ${name} has ${formatBytes(volume.capacityBytes)}.`)
  else await output.result(volume, () => '')
  return undefined
}

export const importVolume: Action = async (context) => {
  const { pool, volume: name } = volumeArgument(context)
  const format = context.choice('format', ['qcow2', 'raw'])
  if (format === undefined)
    throw new UsageError('--format is missing.', 'Write --format qcow2 or --format raw.')
  const encrypt = context.value('encrypt')
  const volume = await context.client.call(routes.importVolume, {
    params: { pool },
    body: {
      name,
      file: context.argument('FILE'),
      format,
      ...(encrypt === undefined ? {} : { encrypt }),
      ...(context.has('force') ? { force: true } : {}),
    },
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  const size = formatBytes(volume.capacityBytes)
  if (context.output.format === 'table')
    context.output.message(`Volume ${volumeName(volume)} of ${size} is imported.`)
  else await context.output.result(volume, () => '')
  return undefined
}

export const cloneVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const text = context.argument('NEW')
  const wanted = parseVolume(text)
  const pool = text.includes('/') ? wanted.pool : params.pool
  const format = context.choice('format', ['qcow2', 'raw'])
  const job = await context.client.call(routes.cloneVolume, {
    params,
    query: startQuery(context),
    body: {
      name: wanted.volume,
      ...(context.has('full') ? { mode: 'full' as const } : {}),
      ...(pool === params.pool ? {} : { pool }),
      ...(format === undefined ? {} : { format }),
      ...(context.has('compress') ? { compress: true } : {}),
    },
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  await followJob(context, job, () => `Volume ${volumeName({ pool, name: wanted.volume })} is cloned.`)
  return undefined
}

export const convertVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const format = context.choice('format', ['qcow2', 'raw'])
  const pool = context.value('to')
  const compress = context.has('compress')
  if (format === undefined && pool === undefined && !compress)
    throw new UsageError('There is nothing to convert to.', 'Write --format raw or --to POOL, for example.')
  const job = await context.client.call(routes.convertVolume, {
    params,
    query: startQuery(context),
    body: {
      ...(pool === undefined ? {} : { pool }),
      ...(format === undefined ? {} : { format }),
      ...(compress ? { compress } : {}),
    },
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  const name = volumeName({ pool: pool ?? params.pool, name: params.volume })
  await followJob(context, job, () => `Volume ${name} is converted.`)
  return undefined
}

/** `40GiB`, or `+10GiB` for as much more than there is. */
async function wantedSize(text: string, capacityBytes: () => Promise<number>): Promise<number> {
  const bytes = parseBytes(text.replace(/^\+/, ''))
  if (bytes === undefined)
    throw new UsageError(`${JSON.stringify(text)} is not a size.`, 'Write 40GiB, or +10GiB for so much more.')
  return text.startsWith('+') ? (await capacityBytes()) + bytes : bytes
}
