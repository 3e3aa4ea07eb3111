/** A guest with one disk on a volume group, one on a thin pool and one on an export of the kernel's NFS server, for lists of what is done to them. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Pool, Vm } from '@kvasir/contract'
import type { World } from '../../e2e/machine/world.ts'
import { CommandLine } from '../../e2e/storage/command-line.ts'
import { blocksSpace, GuestBlocks, stateOfFile } from '../../e2e/storage/guest-blocks.ts'
import { newExport, served } from './nfs-export.ts'
import { sh } from './shell.ts'
import { newVolumeGroup } from './volume-group.ts'

/** The pools: a volume group, a thin pool, an export. */
export const pools = ['fast', 'thin', 'shared'] as const
/** The disks of the guest and where they begin. */
export const disks = [
  ['a', 'fast'],
  ['b', 'thin'],
  ['c', 'shared'],
] as const
/** Where each goes from there. */
export const otherPools = [
  ['a', 'thin'],
  ['b', 'shared'],
  ['c', 'fast'],
] as const

export interface Scene {
  readonly world: World
  readonly cli: CommandLine
  readonly blocks: GuestBlocks
  readonly vg: string
  readonly folder: string
}

/** One thing that is done, in a sentence. */
export type Step = readonly [name: string, run: (scene: Scene) => Promise<void>]

/** Makes the servers, which end with the test, and the pools on them. */
export async function openStorageScene(t: TestContext, world: World): Promise<Scene> {
  const vg = await newVolumeGroup(t, 1024)
  const path = await newExport(t)
  const cli = new CommandLine(world)
  const create = (name: string, ...flags: readonly string[]) => cli.run('pool', 'create', name, ...flags)
  await create('fast', '--type', 'lvm', '--vg', vg)
  await create('thin', '--type', 'lvm-thin', '--vg', vg, '--thin-pool', 'pool0', '--size', '384MiB')
  await create('shared', '--type', 'nfs', '--server', '127.0.0.1', '--export', `/${path}`)
  const blocks = new GuestBlocks(cli, 'web1', ['/dev/vda', '/dev/vdb', '/dev/vdc'])
  return { world, cli, blocks, vg, folder: join(served, path) }
}

/** Characters of an emulator's log that a failed step shows. */
const shownOfLog = 2_000

/** Does the steps; the first that fails ends it and is named. */
export async function runSteps(t: TestContext, scene: Scene, steps: readonly Step[]): Promise<void> {
  for (const [name, run] of steps) {
    const startedMs = performance.now()
    await run(scene).catch(async (cause: unknown) => {
      const said = await lastWords(scene).catch(() => '')
      throw new Error(`${name}: ${cause instanceof Error ? cause.message : String(cause)}${said}`, { cause })
    })
    t.diagnostic(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${name}`)
  }
}

/** What is to be known of the VM and of its emulator when a step failed. */
async function lastWords({ world }: Scene): Promise<string> {
  const vm = world.vm('web1')
  const { status } = await vm.show()
  const log = await vm.emulatorLog()
  return `\nThe VM is ${status.state} (${status.reason}). Its emulator ended with:\n${log.slice(-shownOfLog)}`
}

/** The pool that a disk is on. */
async function poolOfDisk({ cli }: Scene, name: string): Promise<string> {
  const { spec } = await cli.show<Vm>('vm', 'show', 'web1')
  return spec.disks.find((disk) => disk.name === name)?.pool ?? ''
}

/** Moves a disk of the guest, which writes on. */
export async function moveDisk(scene: Scene, disk: string, pool: string): Promise<void> {
  await scene.cli.run('vm', 'disk', 'move', 'web1', disk, '--pool', pool)
  assert.equal(await poolOfDisk(scene, disk), pool)
  await scene.blocks.moves()
}

/** What comes first. */
export const vmThatWrites: Step = [
  'a VM has a disk on each, and its guest writes',
  async ({ world, cli, blocks }) => {
    for (const [disk, pool] of disks)
      await cli.run('volume', 'create', `${pool}/${disk}`, '--size', String(blocksSpace), '--format', 'raw')
    const own = disks.flatMap(([disk, pool]) => ['--disk', `name=${disk},pool=${pool},volume=${disk}`])
    await cli.run('vm', 'create', 'web1', '--image', 'tiny', '--memory', '128MiB', ...own, '--start')
    await world.vm('web1').waitForLogin()
    await blocks.begin(0)
    await blocks.moves()
  },
]

/** What comes last. */
export const storedInTheEnd: Step = [
  'what lies on the storage is what the guest wrote, and nothing of it is left in the end',
  async (scene) => {
    const { world, cli, blocks, vg, folder } = scene
    const before = await blocks.moves()
    await cli.run('vm', 'power-off', 'web1')
    for (const [disk] of disks) {
      const file = join(world.place.base, 'downloaded.img')
      await cli.run('volume', 'download', `${await poolOfDisk(scene, disk)}/${disk}`, file, '--force')
      assert.ok((await stateOfFile(file)) >= before)
    }
    const { findings = [] } = await cli.show<Pool>('pool', 'refresh', 'thin')
    assert.deepEqual(findings, [])
    await cli.run('vm', 'delete', 'web1', '--disks', '--yes')
    for (const pool of ['thin', 'fast', 'shared'])
      await cli.run('pool', 'delete', pool, '--remove-data', '--yes')
    assert.doesNotMatch(await sh(`lvs --noheadings -o lv_name ${vg} 2>/dev/null || true`), /[0-9a-f]{8}-/)
    assert.deepEqual(await readdir(folder), [])
  },
]
