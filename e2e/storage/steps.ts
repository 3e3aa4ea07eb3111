/**
 * All that is done to storage, in the order of a person's day, the same on every backend: each step is done with the command line, while
 * a guest writes; after it, what the guest reads is what it wrote.
 *
 * Not here: the backends (backend.ts), how blocks are judged (guest-blocks.ts).
 */
import type { TestContext } from 'node:test'
import { openWorld } from '../machine/world.ts'
import type { StorageBackend } from './backend.ts'
import { assertSound, poolOf, type Scene, setScene } from './scene.ts'
import type { Step } from './step.ts'
import { checkpointSteps } from './steps-checkpoints.ts'
import { offlineSteps } from './steps-offline.ts'
import { poolSteps } from './steps-pool.ts'
import { moveSteps, runningSteps } from './steps-running.ts'
import { snapshotSteps } from './steps-snapshots.ts'
import { troubleSteps } from './steps-trouble.ts'

const steps: readonly Step[] = [
  ...poolSteps,
  ...runningSteps,
  ...checkpointSteps({
    disks: ['data'],
    // There a snapshot makes a qcow2 file of the disk, and those after this are to find it as it was made.
    maySnapshot: async (scene: Scene) =>
      scene.backend.format === 'qcow2' || (await poolOf(scene)).type !== 'dir',
    assertSound,
  }),
  ...snapshotSteps,
  ...troubleSteps,
  ...moveSteps,
  ...offlineSteps,
]

/** Does every step on a backend; the first that fails ends it and is named. */
export async function runSteps(t: TestContext, backend: StorageBackend): Promise<void> {
  await using world = await openWorld(t)
  const scene = await setScene(t, world, backend)
  for (const step of steps) {
    const startedMs = performance.now()
    await step.run(scene).catch((cause: unknown) => {
      throw new Error(
        `On ${backend.name}: ${step.name}: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      )
    })
    t.diagnostic(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${step.name}`)
  }
}
