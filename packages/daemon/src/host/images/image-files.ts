/**
 * The images on disk: `<directory>/<id>/` with `kernel`, `initrd`, `disk.qcow2` and `image.json`, whichever an image has.
 *
 * An id is the digest of the image's content, so what lies under it never changes. A folder of that name is there whole or not at all:
 * it is filled under a name that begins with a dot, written through to the disk, and renamed. Files are read-only.
 *
 * Not here: making images (image-makers.ts), who uses one (services).
 */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Image, image as imageSchema, KvasirError } from '@kvasir/contract'
import type { ImageFiles } from '../../ports/images.ts'
import type { BuildPaths, BuiltImage } from './recipe.ts'

const fileNames = { kernel: 'kernel', initrd: 'initrd', disk: 'disk.qcow2' } as const
const recordName = 'image.json'
const recordBytes = 64 * 1024
const idPattern = /^[0-9a-f]{64}$/
const stagingPrefix = '.staging-'
const removedPrefix = '.removed-'

/** What is known of an image besides its content. */
export interface StagedFacts extends BuiltImage {
  readonly name: string
  readonly createdAt: string
}

/** A folder in the making; disposal removes it unless it was published. */
export interface StagedImage extends AsyncDisposable {
  /** Where the files are to be written. */
  readonly paths: BuildPaths
  /** Makes the files an image; answers the one that is there already when its content is the same. */
  publish(facts: StagedFacts, signal: AbortSignal): Promise<Image>
}

/** The images of a directory, and how a new one gets there. */
export interface ImageShelf extends ImageFiles {
  stage(): Promise<StagedImage>
}

/** Opens the directory, making it where it is missing. */
export async function openImageShelf(directory: string): Promise<ImageShelf> {
  await mkdir(directory, { recursive: true, mode: 0o711 })
  const known: KnownImages = new Map()
  return {
    list: () => list(directory, known),
    paths: (id) => pathsOf(join(directory, checkedId(id))),
    remove: (id) => remove(directory, checkedId(id)),
    sweep: () => sweep(directory),
    stage: () => stage(directory),
  }
}

function pathsOf(folder: string): BuildPaths {
  return {
    kernel: join(folder, fileNames.kernel),
    initrd: join(folder, fileNames.initrd),
    disk: join(folder, fileNames.disk),
  }
}

function checkedId(id: string): string {
  if (!idPattern.test(id))
    throw new KvasirError('image-not-found', 'An id that is no SHA-256 digest names no image.')
  return id
}

/** Images that were read and checked before, by id, each as of a moment of its folder: what an image holds never changes. */
type KnownImages = Map<string, { readonly image: Image; readonly folderChangedMs: number }>

async function list(directory: string, known: KnownImages): ReturnType<ImageFiles['list']> {
  const ids = (await readdir(directory)).filter((name) => idPattern.test(name)).toSorted()
  const read = await Promise.allSettled(ids.map((id) => readKnown(join(directory, id), { id, known })))
  const images = read.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const unreadable = ids.flatMap((id, index) => {
    const one = read[index]
    return one?.status === 'rejected' ? [{ id, reason: reasonOf(one.reason) }] : []
  })
  return { images, unreadable }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Every start of a VM asks for its image, so an image whose folder is as it was is not read again. */
async function readKnown(
  folder: string,
  { id, known }: { readonly id: string; readonly known: KnownImages },
): Promise<Image> {
  const folderChangedMs = (await stat(folder)).ctimeMs
  const before = known.get(id)
  if (before?.folderChangedMs === folderChangedMs) return before.image
  known.delete(id)
  const image = await readImage(folder, id)
  known.set(id, { image, folderChangedMs })
  return image
}

async function readImage(folder: string, id: string): Promise<Image> {
  const path = join(folder, recordName)
  if ((await stat(path)).size > recordBytes) throw new Error(`${recordName} is too large to be a record.`)
  const record = imageSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  if (record.id !== id) throw new Error(`${recordName} belongs to another image.`)
  for (const part of ['kernel', 'initrd', 'disk'] as const) {
    const expected = record[part]?.sizeBytes
    if (expected === undefined) continue
    const { size } = await stat(join(folder, fileNames[part]))
    if (size !== expected)
      throw new Error(`${fileNames[part]} has ${size} bytes where ${expected} were written.`)
  }
  return record
}

async function remove(directory: string, id: string): Promise<void> {
  const going = join(directory, `${removedPrefix}${randomUUID()}`)
  try {
    await rename(join(directory, id), going)
  } catch (error) {
    if (isNodeError(error) && error.code === 'ENOENT') return
    throw error
  }
  await syncDirectory(directory)
  await rm(going, { recursive: true, force: true })
}

async function sweep(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.startsWith(stagingPrefix) || name.startsWith(removedPrefix)) {
      await rm(join(directory, name), { recursive: true, force: true })
    }
  }
}

async function stage(directory: string): Promise<StagedImage> {
  const folder = join(directory, `${stagingPrefix}${randomUUID()}`)
  await mkdir(folder, { mode: 0o700 })
  return {
    paths: pathsOf(folder),
    publish: (facts, signal) => publish({ directory, folder }, { facts, signal }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

async function publish(
  place: { readonly directory: string; readonly folder: string },
  { facts, signal }: { readonly facts: StagedFacts; readonly signal: AbortSignal },
): Promise<Image> {
  const image = await describe(place.folder, { facts, signal })
  await writeFile(join(place.folder, recordName), `${JSON.stringify(image, undefined, 2)}\n`)
  for (const name of await readdir(place.folder)) await seal(join(place.folder, name))
  await chmod(place.folder, 0o755)
  await syncDirectory(place.folder)
  signal.throwIfAborted()

  const target = join(place.directory, image.id)
  for (;;) {
    try {
      await rename(place.folder, target)
      await syncDirectory(place.directory)
      return image
    } catch (error) {
      if (!isNodeError(error) || !['ENOTEMPTY', 'EEXIST'].includes(error.code ?? '')) throw error
    }
    // The same content is there. Unless it is damaged it stays, since VMs may use it.
    const present = await readImage(target, image.id).catch(() => undefined)
    if (present !== undefined) return present
    await rename(target, join(place.directory, `${removedPrefix}${randomUUID()}`))
  }
}

async function describe(
  folder: string,
  { facts, signal }: { readonly facts: StagedFacts; readonly signal: AbortSignal },
): Promise<Image> {
  const { virtualSizeBytes, ...known } = facts
  const kernel = await digestFile(join(folder, fileNames.kernel), signal)
  const initrd = await digestFile(join(folder, fileNames.initrd), signal)
  const disk = await digestFile(join(folder, fileNames.disk), signal)
  const content = [kernel?.sha256, initrd?.sha256, disk?.sha256, facts.cmdline]
  return imageSchema.parse({
    id: createHash('sha256').update(JSON.stringify(content)).digest('hex'),
    ...known,
    ...(kernel && { kernel }),
    ...(initrd && { initrd }),
    ...(disk && { disk: { ...disk, virtualSizeBytes, format: 'qcow2' } }),
  })
}

async function digestFile(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly sha256: string; readonly sizeBytes: number } | undefined> {
  const found = await stat(path).catch((error: unknown) => {
    if (isNodeError(error) && error.code === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) return undefined
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash, { signal })
  return { sha256: hash.digest('hex'), sizeBytes: found.size }
}

async function seal(path: string): Promise<void> {
  await using file = await open(path, 'r')
  await file.chmod(0o444)
  await file.sync()
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r')
  await directory.sync()
}

function isNodeError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error
}
