/**
 * The room of tests that run in the lab: sees to it that there is one, with the tiny guest's image and the daemon at hand. One run of
 * tests at a time is in the lab of a checkout; another waits for it.
 *
 * Not here: how a file runs there (lab/run-suite.ts).
 */

import { basename, join } from 'node:path'
import { provideTinyImage } from '../e2e/machine/tiny-image.ts'
import { lockFile } from '../lab/machine/file-lock.ts'
import { prepareLabs } from '../lab/machine/lab.ts'
import { placeOf } from '../lab/machine/places.ts'
import { writeLabPrograms } from '../lab/run-suite.ts'
import { writeProgram } from './bundle.ts'
import { root } from './steps.ts'
import type { TestRoom } from './test-room.ts'

const bundles = join(root, '.cache/lab/bundles')

/** Puts a file of tests into one file: to load some hundred modules takes twenty seconds in the lab. */
async function bundleTests(file: string): Promise<string> {
  const bundled = join(bundles, `${basename(file, '.ts')}.mjs`)
  await writeProgram(file, bundled)
  return bundled
}

/** Makes all ready for tests in the lab. */
export async function openLabRoom({
  say,
  ...wanted
}: {
  readonly say: (line: string) => void
  /** How many labs there are at most, for as many files side by side. */
  readonly labs: number
}): Promise<TestRoom> {
  await using opened = new AsyncDisposableStack()
  opened.use(
    await lockFile(placeOf(root).testsLock, {
      kind: 'exclusive',
      onWait: () => say('Other tests run in the lab of this checkout; these wait for them ...'),
    }),
  )
  await provideTinyImage() // The lab reaches no archive.
  const labs = await prepareLabs({ checkout: root, say, count: wanted.labs })
  const room = opened.move()
  return {
    mostAtOnce: labs,
    async programsOf(files) {
      const bundled = await Promise.all(files.map(bundleTests))
      return [...room.use(writeLabPrograms(bundled, { checkout: root, labs })).programs]
    },
    [Symbol.asyncDispose]: () => room.disposeAsync(),
  }
}
