/**
 * The daemon's own directory for making images: `packages` and `downloads` are kept for next time, `scratch` is emptied when the
 * daemon starts. Only root may enter it, so that what is unpacked or fetched there reaches nobody before it is published.
 */
import { chmod, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** A download that was broken off and not gone on with for this long is given up. */
const keepDownloadsMs = 7 * 24 * 3600 * 1000

/** The parts of the directory, as absolute paths. */
export interface WorkDir {
  readonly packages: string
  readonly downloads: string
  readonly scratch: string
}

/** Makes the directory and its parts where they are missing. */
export async function openWorkDir(path: string): Promise<WorkDir> {
  const parts = {
    packages: join(path, 'packages'),
    downloads: join(path, 'downloads'),
    scratch: join(path, 'scratch'),
  }
  for (const part of [path, ...Object.values(parts)]) {
    await mkdir(part, { recursive: true, mode: 0o700 })
    await chmod(part, 0o700)
  }
  return parts
}

/** Empties the scratch part and gives up old downloads. Only safe while nothing is being made. */
export async function sweepWorkDir(work: WorkDir): Promise<void> {
  for (const name of await readdir(work.scratch)) {
    await rm(join(work.scratch, name), { recursive: true, force: true })
  }
  for (const name of await readdir(work.downloads)) {
    const path = join(work.downloads, name)
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > keepDownloadsMs) await rm(path, { recursive: true, force: true })
  }
}

/** A directory in the scratch part that is removed on disposal. */
export async function openScratch(
  work: WorkDir,
  purpose: string,
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(work.scratch, `${purpose}-`))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
