/** The verbs of checkpoints. */
import type { Checkpoint } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { localTime } from '../output/time.ts'

export const listCheckpoints: Action = async (context) => {
  const { client, output, signal } = context
  const params = { name: context.argument('VM') }
  const checkpoints = await client.call(routes.listCheckpoints, { params, signal })
  await output.rows<Checkpoint>(
    checkpoints,
    [
      { title: 'NAME', show: ({ name }) => name },
      { title: 'CREATED', show: ({ createdAt }) => localTime(createdAt) },
      { title: 'CHANGED SINCE', show: ({ disks }) => disks.map(changeOf).join(', ') },
      { title: 'DESCRIPTION', show: ({ description }) => description },
    ],
    `VM ${params.name} has no checkpoints.`,
  )
  return undefined
}

export const createCheckpoint: Action = async (context) => {
  const name = context.argument('CHECKPOINT')
  const params = { name: context.argument('VM') }
  const disk = context.values('disk')
  const checkpoint = await context.client.call(routes.createCheckpoint, {
    params,
    body: {
      name,
      description: context.value('description') ?? '',
      ...(disk.length === 0 ? {} : { disks: [...disk] }),
    },
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  const { output } = context
  if (output.format !== 'table') await output.result(checkpoint, () => '')
  else output.message(`What is written to the disks of VM ${params.name} since ${name} is noted.`)
  return undefined
}

export const deleteCheckpoint: Action = async (context) => {
  const params = { name: context.argument('VM'), checkpoint: context.argument('CHECKPOINT') }
  await context.client.call(routes.deleteCheckpoint, { params, signal: context.signal })
  context.output.message(`Checkpoint ${params.checkpoint} of VM ${params.name} is deleted.`)
  return undefined
}

function changeOf({ disk, state, changedBytes }: Checkpoint['disks'][number]): string {
  return `${disk}: ${state === 'usable' ? formatBytes(changedBytes ?? 0) : state}`
}
