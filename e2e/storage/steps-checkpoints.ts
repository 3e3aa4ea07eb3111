/** What changed since a checkpoint, laid over a full copy, against what the guest wrote. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { exportTo, rebuilt } from '../machine/exported.ts'
import { stateOfFile } from './guest-blocks.ts'
import { assertSound, poolOf, type Scene, scratch } from './scene.ts'
import type { Step } from './step.ts'

export const checkpointSteps: readonly Step[] = [
  {
    name: 'what changed since a checkpoint makes, laid over a full copy, the disk, over a restart of the VM',
    async run(scene) {
      const { world, blocks } = scene
      await exported(scene, ['full'], '--checkpoint', 'monday')
      await blocks.moves()
      const vm = world.vm('web1')
      const boots = await vm.boots()
      await vm.powerOff()
      await vm.start()
      await vm.waitForLogin(boots + 1)
      await blocks.begin((await blocks.state()) + 1)
      await blocks.moves()
      await exported(scene, ['full', 'one'], '--since', 'monday', '--checkpoint', 'tuesday')
      await blocks.moves()
    },
  },
  {
    name: 'a checkpoint stays with the disk when a snapshot of that comes and goes',
    async run(scene) {
      const { cli, backend, blocks } = scene
      const isRawFile = backend.format === 'raw' && (await poolOf(scene)).type === 'dir'
      if (!isRawFile) {
        // What lies on a layer is qcow2 from then on, which the steps of snapshots are for.
        await cli.run('snapshot', 'create', 'web1', 'between')
        await blocks.moves()
        await cli.run('snapshot', 'delete', 'web1', 'between', '--yes')
        await blocks.moves()
      }
      await exported(scene, ['full', 'one', 'two'], '--since', 'tuesday')
      for (const name of ['monday', 'tuesday']) await cli.run('checkpoint', 'delete', 'web1', name)
      await blocks.moves()
      await assertSound(scene)
    },
  },
]

/** Exports to the last of these folders; together they are the disk as it was in between. */
async function exported(
  scene: Scene,
  folders: readonly string[],
  ...flags: readonly string[]
): Promise<void> {
  const { world, blocks } = scene
  const before = await blocks.check()
  const said = await exportTo(world, folders.at(-1) ?? '', ...flags)
  if (folders.length > 1) assert.doesNotMatch(said, /All of disk/)
  const after = await blocks.check()
  const file = scratch(scene, 'rebuilt.img')
  const top = rebuilt(world, 'data', folders)
  execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', top, file])
  const state = await stateOfFile(file)
  assert.ok(before <= state && state <= after, `${before} <= ${state} <= ${after}`)
}
