/** The verbs of disks that move, or are copied, while the guest runs. */
import { routes } from '@kvasir/contract/routes'
import { formatBytes, parseBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { UsageError } from '../usage-error.ts'
import { parseVolume } from '../volume/volume-address.ts'

export const moveDisk: Action = async (context) => {
  const params = { name: context.argument('NAME'), disk: context.argument('DISK') }
  const [pool, speed] = [context.value('pool'), context.value('speed')]
  const format = context.choice('format', ['qcow2', 'raw'])
  const into = context.value('into')
  if (pool === undefined && format === undefined && into === undefined)
    throw new UsageError('There is nowhere to move it to.', 'Write --pool POOL or --format raw, for example.')
  if (into !== undefined && (pool !== undefined || format !== undefined))
    throw new UsageError('A volume that is there has a pool and a format.', 'Leave --pool and --format out.')
  if (into === undefined && context.has('force'))
    throw new UsageError('Only a volume that is there can hold something.', 'Write --into too.')
  const job = await context.client.call(routes.moveDisk, {
    params,
    query: startQuery(context),
    body: {
      ...(pool === undefined ? {} : { pool }),
      ...(format === undefined ? {} : { format }),
      ...(into === undefined ? {} : parseVolume(into)),
      ...(context.has('force') ? { force: true } : {}),
      ...(speed === undefined ? {} : { speed: sizeOf(speed) }),
      ...(context.has('keep') ? { keep: true } : {}),
    },
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  await followJob(context, job, ({ outcome }) =>
    [`Disk ${params.disk} of VM ${params.name} is moved.`, outcome].filter(Boolean).join(' '),
  )
  return undefined
}

export const setSpeed: Action = async (context) => {
  const params = { name: context.argument('NAME'), disk: context.argument('DISK') }
  const speed = sizeOf(context.argument('SIZE'))
  await context.client.call(routes.setMoveSpeed, { params, body: { speed }, signal: context.signal })
  const most = speed === 0 ? 'without a limit' : `with ${formatBytes(speed)}/s at most`
  context.output.message(`Disk ${params.disk} of VM ${params.name} is copied ${most}.`)
  return undefined
}

export const exportVm: Action = async (context) => {
  const socket = context.value('nbd')
  if (socket !== undefined) return await (await import('./serve-nbd.ts')).serveNbd(context, socket)
  if (context.optional('FILE') !== undefined || context.has('to-dir'))
    return await (await import('./export-to-files.ts')).exportToFiles(context)
  const [name, wanted] = [context.argument('NAME'), context.argument('EXPORT')]
  const [pool, disk, speed] = [context.value('pool'), context.value('disk'), context.value('speed')]
  const format = context.choice('format', ['qcow2', 'raw'])
  const job = await context.client.call(routes.exportVm, {
    params: { name },
    query: startQuery(context),
    body: {
      name: wanted,
      quiesce: context.has('quiesce'),
      ...(pool === undefined ? {} : { pool }),
      ...(format === undefined ? {} : { format }),
      ...(disk === undefined ? {} : { disks: [disk] }),
      ...(speed === undefined ? {} : { speed: sizeOf(speed) }),
    },
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  await followJob(context, job, ({ outcome, result }) =>
    [`VM ${name} is exported as ${result}.`, outcome].filter(Boolean).join(' '),
  )
  return undefined
}

function sizeOf(text: string): number {
  const bytes = parseBytes(text)
  if (bytes !== undefined) return bytes
  throw new UsageError(`${JSON.stringify(text)} is not a size.`, 'Write 50MiB, for example.')
}
