/** The endpoints of volumes. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { job } from './job.ts'
import { resourceName } from './names.ts'
import { wait } from './parameters.ts'
import { byteSize } from './units.ts'
import { volume, volumeFormats } from './volume.ts'

const byPool = z.strictObject({ pool: resourceName })
const byVolume = z.strictObject({ pool: resourceName, volume: resourceName })

/** Of a copy: what it holds is compressed once; what a guest writes later is not. */
const compress = z
  .boolean()
  .optional()
  .meta({ description: 'Of a full copy that is qcow2: compressed with zstd; what is written later is not.' })

/** A volume as it is asked for. */
export const newVolume = z.strictObject({
  name: resourceName,
  size: byteSize.optional(),
  image: z.string().max(128).optional().meta({ description: 'The image that it begins as.' }),
  format: z.enum(volumeFormats).optional().meta({ description: 'The first that the pool has, unless told.' }),
  preallocation: z
    .enum(['none', 'metadata', 'full'])
    .default('none')
    .meta({ description: 'full: all its space is taken now.' }),
  clusterSize: byteSize.optional().meta({ description: 'Of qcow2: a power of two from 512 B to 2 MiB.' }),
  encrypt: resourceName.optional().meta({
    description: 'The secret with which what is written is encrypted (LUKS). Nobody reads it without.',
  }),
  lazyRefcounts: z
    .boolean()
    .default(false)
    .meta({ description: 'Of qcow2: faster, and repaired after a crash.' }),
})

export type NewVolume = z.output<typeof newVolume>

/** What can be asked of volumes. */
export const volumeEndpoints = {
  listVolumes: endpoint({
    id: 'listVolumes',
    method: 'GET',
    path: '/v1/volumes',
    summary: 'The volumes of all pools',
    response: z.array(volume),
  }),
  listPoolVolumes: endpoint({
    id: 'listPoolVolumes',
    method: 'GET',
    path: '/v1/pools/{pool}/volumes',
    summary: 'The volumes of a pool',
    params: byPool,
    response: z.array(volume),
  }),
  getVolume: endpoint({
    id: 'getVolume',
    method: 'GET',
    path: '/v1/pools/{pool}/volumes/{volume}',
    summary: 'One volume',
    params: byVolume,
    response: volume,
  }),
  createVolume: endpoint({
    id: 'createVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes',
    summary: 'Create an empty volume, or one on an image',
    params: byPool,
    body: newVolume,
    response: volume,
    status: 201,
    idempotent: true,
  }),
  importVolume: endpoint({
    id: 'importVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/import',
    summary: 'Make a volume of a file that lies in the pool, in its place',
    params: byPool,
    body: z.strictObject({
      name: resourceName,
      file: z
        .string()
        .min(1)
        .max(255)
        .regex(/^[^/\0]+$/, 'is not the name of a file in the pool'),
      format: z.enum(volumeFormats),
      encrypt: resourceName
        .optional()
        .meta({ description: 'The secret with which the file is encrypted (LUKS).' }),
      force: z
        .boolean()
        .default(false)
        .meta({ description: 'Take a file for contents (raw) that begins like an image of another format.' }),
    }),
    response: volume,
    status: 201,
    idempotent: true,
  }),
  resizeVolume: endpoint({
    id: 'resizeVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/resize',
    summary: 'Give a volume another size; a running guest sees it grow at once',
    params: byVolume,
    body: z.strictObject({
      size: byteSize,
      shrink: z
        .boolean()
        .default(false)
        .meta({ description: 'Let it become smaller, which loses what lies beyond; of a stopped VM only.' }),
    }),
    response: volume,
  }),
  cloneVolume: endpoint({
    id: 'cloneVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/clone',
    summary: 'Clone a volume that no running VM uses',
    params: byVolume,
    query: wait,
    body: z.strictObject({
      name: resourceName,
      mode: z.enum(['linked', 'full']).optional().meta({
        description:
          'Linked where the pool has linked clones, and nothing else is asked for that only a full one has; full otherwise.',
      }),
      pool: resourceName.optional().meta({ description: 'Of a full clone; that of the volume unless said.' }),
      format: z.enum(volumeFormats).optional().meta({ description: 'Of a full clone.' }),
      compress,
    }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  convertVolume: endpoint({
    id: 'convertVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/convert',
    summary: 'Give a volume another format or pool; it becomes independent of what it is based on',
    params: byVolume,
    query: wait,
    body: z.strictObject({
      pool: resourceName.optional(),
      format: z.enum(volumeFormats).optional(),
      compress,
    }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  checkVolume: endpoint({
    id: 'checkVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/check',
    summary: 'Look through a volume that no running VM uses for damage, and change nothing',
    params: byVolume,
    query: wait,
    response: job,
    status: 202,
  }),
  repairVolume: endpoint({
    id: 'repairVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/repair',
    summary: 'Repair what a check of a volume finds; no running VM may use it',
    params: byVolume,
    query: wait,
    response: job,
    status: 202,
  }),
  wipeVolume: endpoint({
    id: 'wipeVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/wipe',
    summary: 'Make an unused volume empty, so that nothing of what was on it can be read any more',
    params: byVolume,
    query: wait,
    body: z.strictObject({
      method: z.enum(['zero', 'discard']).default('zero').meta({
        description:
          'zero: what was written is overwritten, then its space given back. discard: only given back.',
      }),
    }),
    response: job,
    status: 202,
  }),
  flattenVolume: endpoint({
    id: 'flattenVolume',
    method: 'POST',
    path: '/v1/pools/{pool}/volumes/{volume}/flatten',
    summary: 'Make a volume independent of what it is based on, while a guest runs on it too',
    params: byVolume,
    query: wait,
    response: job,
    status: 202,
    idempotent: true,
  }),
  deleteVolume: endpoint({
    id: 'deleteVolume',
    method: 'DELETE',
    path: '/v1/pools/{pool}/volumes/{volume}',
    summary: 'Delete a volume that nobody uses',
    params: byVolume,
  }),
} as const
