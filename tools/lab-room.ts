/**
 * The room of tests that run in the lab: opens the lab, with the tiny guest's image at hand, and ends it afterwards unless it ran before.
 * One run of tests at a time is in the lab of a checkout; another waits for it.
 *
 * Not here: how a file runs there (lab/run-suite.ts).
 */

import { provideTinyImage } from '../e2e/machine/tiny-image.ts'
import { bundleDaemon } from '../lab/bundle-daemon.ts'
import { beforeEnd } from '../lab/machine/end-signals.ts'
import { lockFile } from '../lab/machine/file-lock.ts'
import { abandonLab, openLab } from '../lab/machine/lab.ts'
import { placeOf } from '../lab/machine/places.ts'
import { writeLabPrograms } from '../lab/run-suite.ts'
import { root } from './steps.ts'
import type { TestRoom } from './test-room.ts'

/** Opens the lab for tests: the one that runs, as it is, or a new one right after its boot. */
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
  const lab = await openLab({ checkout: root, say, from: 'booted', outlivesUs: false })
  opened.defer(() => lab.leave())
  if (lab.wasRunning) say('The lab runs already, so the tests run in it as it is.')
  lab.session.close() // Each file has a session of its own.
  const made = opened.use(new DisposableStack())
  opened.use(
    beforeEnd(async () => {
      made.dispose()
      await abandonLab(lab)
    }),
  )
  const room = opened.move()
  return {
    programsOf: (files) => [...made.use(writeLabPrograms(files, { checkout: root })).programs],
    [Symbol.asyncDispose]: () => room.disposeAsync(),
  }
}
