/**
 * The room of tests that run in the lab: sees to it that there is one, with the tiny guest's image and the daemon at hand. One run of
 * tests at a time is in the lab of a checkout; another waits for it.
 *
 * Not here: how a file runs there (lab/run-suite.ts).
 */

import { provideTinyImage } from '../e2e/machine/tiny-image.ts'
import { bundleDaemon } from '../lab/bundle-daemon.ts'
import { lockFile } from '../lab/machine/file-lock.ts'
import { prepareLab } from '../lab/machine/lab.ts'
import { placeOf } from '../lab/machine/places.ts'
import { writeLabPrograms } from '../lab/run-suite.ts'
import { root } from './steps.ts'
import type { TestRoom } from './test-room.ts'

/** Makes all ready for tests in the lab. */
export async function openLabRoom(say: (line: string) => void): Promise<TestRoom> {
  await using opened = new AsyncDisposableStack()
  opened.use(
    await lockFile(placeOf(root).testsLock, {
      kind: 'exclusive',
      onWait: () => say('Other tests run in the lab of this checkout; these wait for them ...'),
    }),
  )
  await provideTinyImage() // The lab reaches no archive.
  await bundleDaemon(root)
  await prepareLab({ checkout: root, say })
  const room = opened.move()
  return {
    programsOf: (files) => [...room.use(writeLabPrograms(files, { checkout: root })).programs],
    [Symbol.asyncDispose]: () => room.disposeAsync(),
  }
}
