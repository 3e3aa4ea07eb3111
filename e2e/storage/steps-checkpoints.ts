/** What changed since a checkpoint, laid over a full copy, against what the guest wrote. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { exportTo, rebuilt } from '../machine/exported.ts'
import type { World } from '../machine/world.ts'
import type { CommandLine } from './command-line.ts'
import { assertOneInstant, type GuestBlocks, stateOfFile } from './guest-blocks.ts'

/** A VM `web1` whose guest writes. */
interface WritingVm {
  readonly world: World
  readonly cli: CommandLine
  readonly blocks: GuestBlocks
}

/** What the disks of the guest are called, in the order in which it writes to them, and what is asked of where they lie. */
interface Storage<Scene> {
  readonly disks: readonly string[]
  /** Whether a snapshot may come and go; what it leaves may be of another format. */
  readonly maySnapshot: (scene: Scene) => Promise<boolean>
  readonly assertSound: (scene: Scene) => Promise<void>
}

/** The steps on any storage. */
export function checkpointSteps<Scene extends WritingVm>({
  disks,
  maySnapshot,
  assertSound,
}: Storage<Scene>): readonly { readonly name: string; readonly run: (scene: Scene) => Promise<void> }[] {
  return [
    {
      name: 'what changed since a checkpoint makes, laid over a full copy, the disk, over a restart of the VM',
      run: async (scene) => {
        const { world, blocks } = scene
        await exported(scene, { disks, folders: ['full'] }, '--checkpoint', 'monday')
        await blocks.moves()
        const vm = world.vm('web1')
        const boots = await vm.boots()
        await vm.powerOff()
        await vm.start()
        await vm.waitForLogin(boots + 1)
        await blocks.begin(Math.min(...(await blocks.states())) + 1)
        await blocks.moves()
        const since = ['--since', 'monday', '--checkpoint', 'tuesday']
        await exported(scene, { disks, folders: ['full', 'one'] }, ...since)
        await blocks.moves()
      },
    },
    {
      name: 'a checkpoint stays with the disk when a snapshot of that comes and goes',
      run: async (scene) => {
        const { cli, blocks } = scene
        if (await maySnapshot(scene)) {
          await cli.run('snapshot', 'create', 'web1', 'between')
          await blocks.moves()
          await cli.run('snapshot', 'delete', 'web1', 'between', '--yes')
          await blocks.moves()
        }
        await exported(scene, { disks, folders: ['full', 'one', 'two'] }, '--since', 'tuesday')
        for (const name of ['monday', 'tuesday']) await cli.run('checkpoint', 'delete', 'web1', name)
        await blocks.moves()
        await assertSound(scene)
      },
    },
  ]
}

/** Exports to the last of the folders; together they are the disks as they were at one instant in between. */
async function exported(
  { world, blocks }: WritingVm,
  { disks, folders }: { readonly disks: readonly string[]; readonly folders: readonly string[] },
  ...flags: readonly string[]
): Promise<void> {
  const before = await blocks.check()
  const said = await exportTo(world, folders.at(-1) ?? '', ...flags)
  if (folders.length > 1) assert.doesNotMatch(said, /All of disk/)
  const after = await blocks.check()
  const states: number[] = []
  for (const disk of disks) {
    const file = join(world.place.base, 'rebuilt.img')
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', rebuilt(world, disk, folders), file])
    states.push(await stateOfFile(file))
  }
  assertOneInstant(states, { from: before, to: after })
}
