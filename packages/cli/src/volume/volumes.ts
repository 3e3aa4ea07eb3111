/** The verbs of volumes. */
import type { Volume } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'

export const listVolumes: Action = async ({ client, output, signal }) => {
  const volumes = await client.call(routes.listVolumes, { signal })
  await output.rows<Volume>(
    volumes,
    [
      { title: 'NAME', show: (volume) => volume.name },
      { title: 'POOL', show: (volume) => volume.pool },
      { title: 'FORMAT', show: (volume) => volume.format },
      { title: 'CAPACITY', show: (volume) => formatBytes(volume.capacityBytes), right: true },
      { title: 'ALLOCATED', show: allocated, right: true },
      { title: 'USED BY', show: (volume) => volume.usedBy.join(', ') || '-' },
    ],
    'There are no volumes yet.',
  )
  return undefined
}

export const showVolume: Action = async (context) => {
  const params = { name: context.argument('VOLUME') }
  const volume = await context.client.call(routes.getVolume, { params, signal: context.signal })
  await context.output.properties(volume, () => ({
    Name: volume.name,
    Pool: volume.pool,
    Format: volume.format,
    Capacity: formatBytes(volume.capacityBytes),
    Allocated: allocated(volume),
    Image: volume.image,
    Base: volume.base,
    'Used by': volume.usedBy.join(', ') || undefined,
    Created: volume.createdAt,
  }))
  return undefined
}

export const createVolume: Action = async (context) => {
  const { client, output, signal } = context
  const name = context.argument('VOLUME')
  const [size, image, pool] = [context.value('size'), context.value('image'), context.value('pool')]
  const volume = await client.call(routes.createVolume, {
    body: {
      name,
      ...(size === undefined ? {} : { size }),
      ...(image === undefined ? {} : { image }),
      ...(pool === undefined ? {} : { pool }),
    },
    idempotencyKey: crypto.randomUUID(),
    signal,
  })
  if (output.format === 'table')
    output.message(`Volume ${name} of ${formatBytes(volume.capacityBytes)} is created.`)
  else await output.result(volume, () => '')
  return undefined
}

export const deleteVolume: Action = async (context) => {
  const name = context.argument('VOLUME')
  if (!(await confirm(context, `Delete volume ${name} and what is on it?`))) return 1
  await context.client.call(routes.deleteVolume, { params: { name }, signal: context.signal })
  context.output.message(`Volume ${name} is deleted.`)
  return undefined
}

function allocated(volume: Volume): string | undefined {
  return volume.allocatedBytes === undefined ? undefined : formatBytes(volume.allocatedBytes)
}
