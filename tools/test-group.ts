/**
 * Runs test files in one of several processes, for a rung whose files are so quick that starting Node would be most of their time.
 *
 * Invariant: each file is run by exactly one process, which takes it when it is through with the one before, so that all end at
 * about the same time. No test of a file begins before the file is loaded. A file that does not load is a failed test of its own
 * and keeps none of the others from running.
 */
import { mkdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { before, suite, test } from 'node:test'
import { pathToFileURL } from 'node:url'

const root = join(import.meta.dirname, '..')

/** Runs those of the files that no other process has taken; which ones are taken is marked in a folder. */
export async function runFreeFiles(files: readonly string[], marks: string): Promise<void> {
  let gate = Promise.withResolvers<void>()
  const first = gate.promise
  before(() => first)
  for (const [index, file] of files.entries()) {
    if (!take(join(marks, `taken-${index}`))) continue
    const name = relative(root, file)
    await import(pathToFileURL(file).href).catch((error: unknown) => {
      void test(`${name} loads`, () => {
        throw error
      })
    })
    gate.resolve()
    gate = await gateBehind(name)
  }
  gate.resolve()
}

/** Waits for the tests that are there already; those to come wait until the gate is resolved. */
async function gateBehind(name: string): Promise<PromiseWithResolvers<void>> {
  const through = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const ended = suite(name, () => {
    before(async () => {
      through.resolve()
      await gate.promise
    })
  })
  void ended.then(through.resolve) // At once where only tests of certain names run, of which this is none.
  await through.promise
  return gate
}

function take(mark: string): boolean {
  try {
    mkdirSync(mark)
    return true
  } catch {
    return false // Another process was first.
  }
}
