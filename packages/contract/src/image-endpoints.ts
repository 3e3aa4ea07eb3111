/** The endpoints of images. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { image, imageRecipes, importFormats } from './image.ts'
import { job } from './job.ts'
import { hostPath, resourceName, sha256 } from './names.ts'
import { wait } from './parameters.ts'

const byImage = z.strictObject({ image: z.string().min(1).max(128) })

/** What can be asked of images. */
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
} as const
