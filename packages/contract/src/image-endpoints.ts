/** The endpoints of images and volumes. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { image, imageRecipes, importFormats, volume } from './image.ts'
import { job } from './job.ts'
import { hostPath, resourceName, sha256 } from './names.ts'
import { byName, wait } from './parameters.ts'
import { byteSize } from './units.ts'

const byImage = z.strictObject({ image: z.string().min(1).max(128) })

/** What can be asked of images and of the default pool. */
export const imageEndpoints = {
  listImages: endpoint({
    id: 'listImages',
    method: 'GET',
    path: '/v1/images',
    summary: 'All images',
    response: z.array(image),
  }),
  getImage: endpoint({
    id: 'getImage',
    method: 'GET',
    path: '/v1/images/{image}',
    summary: 'One image, by name or id',
    params: byImage,
    response: image,
  }),
  buildImage: endpoint({
    id: 'buildImage',
    method: 'POST',
    path: '/v1/images/build',
    summary: 'Build an image from Debian packages',
    query: wait,
    body: z.strictObject({ recipe: z.enum(imageRecipes), name: resourceName.optional() }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  importImage: endpoint({
    id: 'importImage',
    method: 'POST',
    path: '/v1/images/import',
    summary: 'Import a disk image from a file of the host',
    query: wait,
    body: z.strictObject({ path: hostPath, name: resourceName, format: z.enum(importFormats).optional() }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  pullImage: endpoint({
    id: 'pullImage',
    method: 'POST',
    path: '/v1/images/pull',
    summary: 'Import a disk image from a URL',
    query: wait,
    body: z.strictObject({
      url: z.url({ protocol: /^https?$/ }).max(4096),
      sha256,
      name: resourceName,
      format: z.enum(importFormats).optional(),
      allowPrivate: z.boolean().default(false),
    }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  deleteImage: endpoint({
    id: 'deleteImage',
    method: 'DELETE',
    path: '/v1/images/{image}',
    summary: 'Delete an image that nothing is based on',
    params: byImage,
  }),
  listVolumes: endpoint({
    id: 'listVolumes',
    method: 'GET',
    path: '/v1/volumes',
    summary: 'The volumes of the default pool',
    response: z.array(volume),
  }),
  getVolume: endpoint({
    id: 'getVolume',
    method: 'GET',
    path: '/v1/volumes/{name}',
    summary: 'One volume',
    params: byName,
    response: volume,
  }),
  createVolume: endpoint({
    id: 'createVolume',
    method: 'POST',
    path: '/v1/volumes',
    summary: 'Create an empty volume, or one on an image',
    body: z.strictObject({
      name: resourceName,
      pool: resourceName.default('default'),
      size: byteSize.optional(),
      image: z.string().max(128).optional(),
    }),
    response: volume,
    status: 201,
    idempotent: true,
  }),
  deleteVolume: endpoint({
    id: 'deleteVolume',
    method: 'DELETE',
    path: '/v1/volumes/{name}',
    summary: 'Delete a volume that nobody uses',
    params: byName,
  }),
} as const
