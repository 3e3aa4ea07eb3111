/** Checkpoints of a guest with raw disks on a volume group, a thin pool and an export of the kernel's NFS server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pool } from '@kvasir/contract'
import { openWorld } from '../../e2e/machine/world.ts'
import { checkpointSteps } from '../../e2e/storage/steps-checkpoints.ts'
import { needs } from '../../tools/require.ts'
import {
  disks,
  moveDisk,
  openStorageScene,
  otherPools,
  pools,
  runSteps,
  type Scene,
  type Step,
  storedInTheEnd,
  vmThatWrites,
} from '../testing/storage-scene.ts'

const [overRestart, overSnapshot] = checkpointSteps({
  disks: disks.map(([disk]) => disk),
  maySnapshot: async () => true,
  assertSound: async ({ cli }: Scene) => {
    for (const pool of pools) {
      const { findings = [] } = await cli.show<Pool>('pool', 'refresh', pool)
      assert.deepEqual(findings, [])
    }
  },
}).map(({ name, run }): Step => [name, run])

const moves: Step = [
  'each disk moves to another pool with what is noted of it',
  async (scene) => {
    for (const [disk, pool] of otherPools) await moveDisk(scene, disk, pool)
  },
]

test('what changed on LVM, a thin pool and NFS is known over a restart, moves between them and a snapshot', {
  skip: needs('lab', 'root', 'qemu'),
}, async (t) => {
  assert.ok(overRestart && overSnapshot)
  await using world = await openWorld(t)
  const scene = await openStorageScene(t, world)
  await runSteps(t, scene, [vmThatWrites, overRestart, moves, overSnapshot, storedInTheEnd])
})
