/** The verbs of images. */
import { basename, resolve } from 'node:path'
import type { Image } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'
import { localTime } from '../output/time.ts'
import { UsageError } from '../usage-error.ts'

const shortIdLength = 12

export const listImages: Action = async ({ client, output, signal }) => {
  const images = await client.call(routes.listImages, { signal })
  await output.rows<Image>(
    images,
    [
      { title: 'NAME', show: (image) => image.name },
      { title: 'ID', show: (image) => image.id.slice(0, shortIdLength) },
      { title: 'OS', show: (image) => `${image.os} ${image.release}`.trim() },
      { title: 'VERSION', show: (image) => image.version },
      { title: 'BOOT', show: (image) => image.boot },
      { title: 'SIZE', show: (image) => formatBytes(sizeOf(image)), right: true },
      { title: 'CREATED', show: (image) => localTime(image.createdAt) },
    ],
    'There are no images yet. Make one: kvasir image build tiny',
  )
  return undefined
}

export const showImage: Action = async (context) => {
  const params = { image: context.argument('IMAGE') }
  const image = await context.client.call(routes.getImage, { params, signal: context.signal })
  await context.output.properties(image, () => ({
    Name: image.name,
    ID: image.id,
    OS: `${image.os} ${image.release} ${image.version}`.trim(),
    Architecture: image.architecture,
    Boot: image.boot,
    Firmware: image.firmware.join(', '),
    Source: image.source,
    Size: formatBytes(sizeOf(image)),
    'Disk size': image.disk === undefined ? undefined : formatBytes(image.disk.virtualSizeBytes),
    'Kernel line': image.cmdline,
    Created: localTime(image.createdAt),
  }))
  return undefined
}

export const buildImage: Action = async (context) => {
  const recipe = recipeOf(context.argument('RECIPE'))
  const name = context.value('name')
  const body = name === undefined ? { recipe } : { recipe, name }
  const job = await context.client.call(routes.buildImage, { body, ...creation(context) })
  await followJob(context, job, () => `Image ${name ?? recipe} is built. ${next(name ?? recipe)}`)
  return undefined
}

export const importImage: Action = async (context) => {
  const path = resolve(context.argument('FILE'))
  const format = formatOf(context)
  const name = context.value('name') ?? nameFrom(path)
  const body = format === undefined ? { path, name } : { path, name, format }
  const job = await context.client.call(routes.importImage, { body, ...creation(context) })
  await followJob(context, job, () => `Image ${name} is imported. ${next(name)}`)
  return undefined
}

export const pullImage: Action = async (context) => {
  const url = context.argument('URL')
  const sha256 = context.value('sha256')
  if (sha256 === undefined)
    throw new UsageError('--sha256 is missing.', 'Take it from where the image is published.')
  const format = formatOf(context)
  const name = context.value('name') ?? nameFrom(URL.canParse(url) ? new URL(url).pathname : url)
  const body = {
    url,
    sha256,
    name,
    ...(format === undefined ? {} : { format }),
    ...(context.has('allow-private') ? { allowPrivate: true } : {}),
  }
  const job = await context.client.call(routes.pullImage, { body, ...creation(context) })
  await followJob(context, job, () => `Image ${name} is here. ${next(name)}`)
  return undefined
}

export const deleteImage: Action = async (context) => {
  const image = context.argument('IMAGE')
  if (!(await confirm(context, `Delete image ${image}?`))) return 1
  await context.client.call(routes.deleteImage, { params: { image }, signal: context.signal })
  context.output.message(`Image ${image} is deleted.`)
  return undefined
}

/** A name for an image from the name of its file. */
export function nameFrom(path: string): string {
  const stem = basename(path).replace(/\.(raw|img|qcow2|vmdk|vhdx|vdi)$/i, '')
  const name = stem
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, 63)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')
  if (name !== '') return name
  throw new UsageError(`No name can be made from ${JSON.stringify(path)}.`, 'Add --name NAME.')
}

function creation(context: Context) {
  return { query: startQuery(context), idempotencyKey: crypto.randomUUID(), signal: context.signal }
}

function next(name: string): string {
  return `Use it: kvasir vm create NAME --image ${name} --start`
}

function recipeOf(word: string): 'tiny' | 'debian-12' | 'debian-13' {
  if (word === 'tiny' || word === 'debian-12' || word === 'debian-13') return word
  throw new UsageError(`There is no recipe ${JSON.stringify(word)}.`, 'Recipes: tiny, debian-12, debian-13.')
}

function formatOf(context: Context) {
  return context.choice('format', ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi'])
}

function sizeOf(image: Image): number {
  return (image.kernel?.sizeBytes ?? 0) + (image.initrd?.sizeBytes ?? 0) + (image.disk?.sizeBytes ?? 0)
}
