/**
 * Makes images: by recipe, from a file, from an address. Each is prepared in the work directory and published at once on the shelf.
 *
 * One image of a recipe or of an address is made at a time; a second request for the same is refused rather than made twice.
 *
 * Not here: the recipes (build-*.ts), what is accepted as a disk image (import-disk.ts), how bytes come over the network (download.ts).
 */
import { join } from 'node:path'
import { type Image, type ImageRecipe, KvasirError } from '@kvasir/contract'
import type { Clock } from '../../ports/clock.ts'
import type { ImageMakers, WorkOptions } from '../../ports/images.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import { debianReleases, resolveDebian } from './build-debian.ts'
import { resolveTiny } from './build-tiny.ts'
import { download } from './download.ts'
import type { ImageShelf } from './image-files.ts'
import { importDisk } from './import-disk.ts'
import type { BuildOptions, ResolvedRecipe } from './recipe.ts'
import { openWorkDir, sweepWorkDir, type WorkDir } from './work-dir.ts'

/** What the makers work with. */
export interface MakerOptions {
  /** The daemon's state directory; the makers work in `image-work` below it. */
  readonly stateDir: string
  readonly shelf: ImageShelf
  /** For what is done to foreign images. */
  readonly jailed: JailedTools
  readonly clock: Pick<Clock, 'now'>
}

/** Prepares the work directory, clearing away what an earlier daemon left half-made, and gives the makers. */
export async function createImageMakers(options: MakerOptions): Promise<ImageMakers> {
  const work = await openWorkDir(join(options.stateDir, 'image-work'))
  await sweepWorkDir(work)
  const { shelf, clock, jailed } = options
  const importTools = { shelf, work, jailed, clock }
  const oneOf = createTurnstile()
  return {
    build: (recipe, name, wanted) =>
      oneOf(`the recipe ${recipe}`, () => buildImage({ shelf, work, clock }, { ...wanted, recipe, name })),
    importFile: (request, wanted) => {
      const source = `file ${request.path}`
      return importDisk(importTools, { request: { ...request, source, isOurs: false }, options: wanted })
    },
    pull: (request, wanted) =>
      oneOf(`the download ${request.sha256}`, async () => {
        const path = await download(request, { ...wanted, downloads: work.downloads })
        const source = `url ${request.url}`
        return await importDisk(importTools, {
          request: { ...request, path, source, isOurs: true },
          options: wanted,
        })
      }),
  }
}

interface Recipe extends WorkOptions {
  readonly recipe: ImageRecipe
  readonly name: string
}

async function buildImage(
  tools: { readonly shelf: ImageShelf; readonly work: WorkDir; readonly clock: Pick<Clock, 'now'> },
  wanted: Recipe,
): Promise<Image> {
  const resolved = await resolve(wanted.recipe, { ...wanted, work: tools.work })
  const { images } = await tools.shelf.list()
  const present = images.find((image) => resolved.source !== undefined && image.source === resolved.source)
  if (present !== undefined) return present

  await using staged = await tools.shelf.stage()
  const facts = await resolved.build(staged.paths)
  wanted.onProgress('publishing', 0.95)
  return await staged.publish({ ...facts, name: wanted.name, createdAt: tools.clock.now() }, wanted.signal)
}

function resolve(recipe: ImageRecipe, options: BuildOptions): Promise<ResolvedRecipe> {
  switch (recipe) {
    case 'tiny':
      return resolveTiny(options)
    case 'debian-12':
    case 'debian-13':
      return resolveDebian(debianReleases[recipe], options)
  }
}

/** Lets one piece of work of a kind in and refuses the next until it has left. */
function createTurnstile(): (what: string, work: () => Promise<Image>) => Promise<Image> {
  const inside = new Set<string>()
  return async (what, work) => {
    if (inside.has(what))
      throw new KvasirError('busy', `An image of ${what} is being made, so it is not made twice at once.`)
    inside.add(what)
    try {
      return await work()
    } finally {
      inside.delete(what)
    }
  }
}
