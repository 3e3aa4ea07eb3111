/**
 * Loads several test files into one process, for a rung whose files are so quick that starting Node would be most of their time.
 *
 * Invariant: a file that does not load is a failed test of its own and keeps none of the others from running; no test begins
 * before all files are loaded, so that none pays for the loading of another.
 */
import { before, test } from 'node:test'
import { pathToFileURL } from 'node:url'

/** Imports the files one after the other; their tests run when all are there. */
export async function loadTests(files: readonly string[]): Promise<void> {
  const loaded = Promise.withResolvers<void>()
  before(() => loaded.promise)
  for (const file of files) {
    await import(pathToFileURL(file).href).catch((error: unknown) => {
      void test(`${file} loads`, () => {
        throw error
      })
    })
  }
  loaded.resolve()
}
