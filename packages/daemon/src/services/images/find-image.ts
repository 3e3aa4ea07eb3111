/** Images as the API shows them: the files describe themselves, the store adds the name that people gave. */
import type { Image } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { Context } from '../context.ts'

/** A prefix of an id must be this long to name an image. */
const shortestIdPrefix = 8

/** All images that can be read, newest first. */
export async function listImages(ports: Ports): Promise<readonly Image[]> {
  const { images, unreadable } = await ports.images.list()
  for (const entry of unreadable) ports.log.warn(entry, 'an image cannot be read')
  const names = new Map(ports.store.imageNames.list().map((row) => [row.id, row.name]))
  return images
    .map((image) => ({ ...image, name: names.get(image.id) ?? image.name }))
    .sort((a, b) => b.createdAt.localeCompare(a.createdAt))
}

/** The image of a name, an id or the beginning of an id; `image-not-found`. */
export async function findImage(reference: string, ports: Ports): Promise<Image> {
  const images = await listImages(ports)
  const exact =
    images.find((image) => image.name === reference) ?? images.find((image) => image.id === reference)
  if (exact) return exact
  const byPrefix = images.filter(
    (image) => reference.length >= shortestIdPrefix && image.id.startsWith(reference),
  )
  const [only, another] = byPrefix
  if (only && !another) return only
  const consequence = another ? 'names more than one image' : 'is not an image here'
  throw new KvasirError('image-not-found', `${JSON.stringify(reference.slice(0, 80))} ${consequence}.`)
}

/** Refuses what was planned on images of which one is gone by now. Called in the transaction that writes down who uses them. */
export function requireNotGone(ids: readonly (string | undefined)[], context: Context): void {
  const gone = ids.find((id) => id !== undefined && context.goneImages.has(id))
  if (gone !== undefined)
    throw new KvasirError(
      'image-not-found',
      `Image ${gone.slice(0, 12)} was deleted meanwhile, so nothing is made from it.`,
    )
}
