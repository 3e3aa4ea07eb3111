/** Changes to files and directories that are on the disk when they return, so that a row written afterwards never promises more. */
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Waits until a file's content, or a directory's entries, are on the disk. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Renames a file that is whole into its place, over an older one. */
export async function publish(passing: string, path: string): Promise<void> {
  await syncPath(passing)
  await rename(passing, path)
  await syncPath(dirname(path))
}

/** Writes a whole file with mode 0600, replacing an older one at once. */
export async function replaceFile(path: string, content: Uint8Array): Promise<void> {
  const passing = `${path}.partial`
  try {
    await rm(passing, { force: true })
    const handle = await open(passing, 'wx', 0o600)
    try {
      await handle.writeFile(content)
    } finally {
      await handle.close()
    }
    await publish(passing, path)
  } catch (error) {
    await rm(passing, { force: true })
    throw error
  }
}

/** Removes files; no error for one that is not there. */
export async function removeFiles(...paths: readonly string[]): Promise<void> {
  await Promise.all(paths.map((path) => rm(path, { force: true })))
  await Promise.all([...new Set(paths.map((path) => dirname(path)))].map(syncPath))
}
