/**
 * The room of tests that run in the lab: opens the lab, with the tiny guest's image at hand, and ends it afterwards unless it ran before.
 *
 * Not here: how a file runs there (lab/run-suite.ts).
 */

import { provideTinyImage } from '../e2e/machine/tiny-image.ts'
import { bundleDaemon } from '../lab/bundle-daemon.ts'
import { openLab, stopLab } from '../lab/machine/lab.ts'
import { writeLabPrograms } from '../lab/run-suite.ts'
import { root } from './steps.ts'
import type { TestRoom } from './test-room.ts'

/** Opens the lab for tests: the one that runs, as it is, or a new one right after its boot. */
export async function openLabRoom(say: (line: string) => void): Promise<TestRoom> {
  await provideTinyImage() // The lab reaches no archive.
  await bundleDaemon(root)
  const lab = await openLab({ checkout: root, say, from: 'booted', outlivesUs: false })
  if (lab.wasRunning) say('The lab runs already, so the tests run in it as it is.')
  lab.session.close() // Each file has a session of its own.
  const made = new DisposableStack()
  return {
    programsOf: (files) => [...made.use(writeLabPrograms(files, { checkout: root })).programs],
    async [Symbol.asyncDispose]() {
      made.dispose()
      if (!lab.wasRunning) await stopLab(lab.place)
    },
  }
}
