/** The verbs of volumes. */
import type { Volume } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import { localTime } from '../output/time.ts'
import { chainUnder, usersOf } from './chain.ts'
import { volumeArgument, volumeName } from './volume-address.ts'

/** Space that is taken, or given back, piece by piece: an image of Ceph, or a file on a slow server. */
const spaceMs = 60 * 60_000

export const listVolumes: Action = async (context) => {
  const { client, output, signal } = context
  const pool = context.value('pool')
  const [volumes, images] = await Promise.all([
    pool === undefined
      ? client.call(routes.listVolumes, { signal })
      : client.call(routes.listPoolVolumes, { params: { pool }, signal }),
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
      { title: 'USED BY', show: (volume) => uploadOf(volume) ?? usersOf(volume, volumes) },
    ],
    'There are no volumes yet.',
  )
  return undefined
}

export const showVolume: Action = async (context) => {
  const params = volumeArgument(context)
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
      Path: volume.path,
      Encryption: volume.encryption && `LUKS, with secret ${volume.encryption.secret}`,
      Upload: uploaded(volume),
      Capacity: formatBytes(volume.capacityBytes),
      Allocated: allocated(volume),
      On: chainUnder(volume, { volumes, images }),
      'Cloned from': volume.clonedFrom && `${volume.clonedFrom}, which it does not need`,
      'Used by': usersOf(volume, volumes),
      Created: localTime(volume.createdAt),
    }
  })
  return undefined
}

export const createVolume: Action = async (context) => {
  const { client, output, signal } = context
  const { pool, volume: name } = volumeArgument(context)
  const [size, image] = [context.value('size'), context.value('image')]
  const format = context.choice('format', ['qcow2', 'raw'])
  const preallocation = context.choice('preallocation', ['none', 'metadata', 'full'])
  const clusterSize = context.value('cluster-size')
  const encrypt = context.value('encrypt')
  const volume = await client.call(routes.createVolume, {
    params: { pool },
    body: {
      name,
      ...(size === undefined ? {} : { size }),
      ...(image === undefined ? {} : { image }),
      ...(format === undefined ? {} : { format }),
      ...(preallocation === undefined ? {} : { preallocation }),
      ...(clusterSize === undefined ? {} : { clusterSize }),
      ...(context.has('lazy-refcounts') ? { lazyRefcounts: true } : {}),
      ...(encrypt === undefined ? {} : { encrypt }),
    },
    idempotencyKey: crypto.randomUUID(),
    ...(preallocation === 'full' ? { timeoutMs: spaceMs } : {}),
    signal,
  })
  if (output.format === 'table')
    output.message(`Volume ${volumeName(volume)} of ${formatBytes(volume.capacityBytes)} is created.`)
  else await output.result(volume, () => '')
  return undefined
}

export const deleteVolume: Action = async (context) => {
  const params = volumeArgument(context)
  const name = volumeName({ pool: params.pool, name: params.volume })
  if (!(await confirm(context, `Delete volume ${name} and what is on it?`))) return 1
  await context.client.call(routes.deleteVolume, { params, timeoutMs: spaceMs, signal: context.signal })
  context.output.message(`Volume ${name} is deleted.`)
  return undefined
}

/** Until it is whole nobody else has it. */
function uploadOf(volume: Volume): string | undefined {
  return volume.upload && `an upload, ${uploaded(volume)}`
}

function uploaded({ upload }: Volume): string | undefined {
  return upload && `${formatBytes(upload.offsetBytes)} of ${formatBytes(upload.sizeBytes)}`
}

function allocated(volume: Volume): string | undefined {
  return volume.allocatedBytes === undefined ? undefined : formatBytes(volume.allocatedBytes)
}
