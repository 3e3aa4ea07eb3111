/** The verbs of volumes. */
import type { Volume } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import { localTime } from '../output/time.ts'
import { chainUnder, usersOf } from './chain.ts'

export const listVolumes: Action = async ({ client, output, signal }) => {
  const [volumes, images] = await Promise.all([
    client.call(routes.listVolumes, { signal }),
    output.format === 'table' ? client.call(routes.listImages, { signal }) : [],
  ])
  await output.rows<Volume>(
    volumes,
    [
      { title: 'NAME', show: (volume) => volume.name },
      { title: 'POOL', show: (volume) => volume.pool },
      { title: 'FORMAT', show: (volume) => volume.format },
      { title: 'CAPACITY', show: (volume) => formatBytes(volume.capacityBytes), right: true },
      { title: 'ALLOCATED', show: allocated, right: true },
      { title: 'ON', show: (volume) => chainUnder(volume, { volumes, images })[0] },
      { title: 'USED BY', show: (volume) => usersOf(volume, volumes) },
    ],
    'There are no volumes yet.',
  )
  return undefined
}

export const showVolume: Action = async (context) => {
  const params = { name: context.argument('VOLUME') }
  const { client, signal } = context
  const volume = await client.call(routes.getVolume, { params, signal })
  await context.output.properties(volume, async () => {
    const [volumes, images] = await Promise.all([
      client.call(routes.listVolumes, { signal }),
      client.call(routes.listImages, { signal }),
    ])
    return {
      Name: volume.name,
      Pool: volume.pool,
      Format: volume.format,
      Capacity: formatBytes(volume.capacityBytes),
      Allocated: allocated(volume),
      On: chainUnder(volume, { volumes, images }),
      'Used by': usersOf(volume, volumes),
      Created: localTime(volume.createdAt),
    }
  })
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
