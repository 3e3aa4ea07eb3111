/**
 * The tiny guest's image, built once by a real daemon and then laid into the state directory of each test's daemon before it starts.
 *
 * The cache is named by the digest of everything in the checkout that the image is made from; an entry is there whole or not at all.
 */
import { createHash } from 'node:crypto'
import { cp, glob, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endpoints } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { startDaemon } from './daemon.ts'
import { clearPlace } from './leftovers.ts'
import { makePlace, type Place } from './place.ts'

const daemonSources = join(import.meta.dirname, '../../packages/daemon/src')
const ingredients = ['host/images/**/*', 'model/images/**/*']
const buildMs = 240_000
const shelf = 'images'

/** Where the images are kept; the lab shows the same folder inside. */
export const tinyImageCache = join(tmpdir(), 'kvasir-e2e-cache')

/** Puts the tiny image where a daemon that starts in the place finds it, building it when nobody has yet. */
export async function seedTinyImage(place: Place): Promise<void> {
  const cached = await provideTinyImage()
  const target = join(place.stateDir, shelf)
  await mkdir(place.stateDir, { recursive: true, mode: 0o700 })
  await mkdir(target, { mode: 0o711 })
  await cp(cached, target, { recursive: true })
}

/** Gives the folder of the tiny image, building it when nobody has yet. */
export async function provideTinyImage(): Promise<string> {
  const cached = join(tinyImageCache, await sourceDigest())
  if (!(await hasEntries(cached))) await buildInto(cached)
  return cached
}

async function sourceDigest(): Promise<string> {
  const hash = createHash('sha256')
  const paths = await Array.fromAsync(glob(ingredients, { cwd: daemonSources, withFileTypes: true }))
  const files = paths.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  for (const path of files.toSorted()) {
    if (path.endsWith('.test.ts')) continue
    hash.update(`${path.slice(daemonSources.length)}\0`)
    hash.update(await readFile(path))
  }
  return hash.digest('hex').slice(0, 16)
}

async function hasEntries(directory: string): Promise<boolean> {
  return (await readdir(directory).catch(() => [])).length > 0
}

/** Two suites may do this at once; the entry that is renamed into place first stays. */
async function buildInto(cached: string): Promise<void> {
  const place = await makePlace()
  try {
    const daemon = await startDaemon(place)
    try {
      const job = await daemon.client.call(endpoints.buildImage, { body: { recipe: 'tiny' } })
      await waitForJob(daemon.client, job, { signal: AbortSignal.timeout(buildMs) })
    } finally {
      await daemon.stop()
    }
    await mkdir(join(cached, '..'), { recursive: true, mode: 0o700 })
    const partial = `${cached}.${process.pid}`
    await cp(join(place.stateDir, shelf), partial, { recursive: true })
    await rename(partial, cached).catch(() => rm(partial, { recursive: true, force: true }))
  } finally {
    await clearPlace(place)
  }
}
