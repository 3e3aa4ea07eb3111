/** What the steps of storage (steps.ts) share: a pool `tested` of the backend, VM `web1` whose guest writes to the pool's volume `data`. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Pool, Vm, Volume } from '@kvasir/contract'
import { eventually } from '../machine/eventually.ts'
import type { World } from '../machine/world.ts'
import type { OpenBackend, StorageBackend } from './backend.ts'
import { CommandLine } from './command-line.ts'
import { GuestBlocks } from './guest-blocks.ts'

export interface Scene {
  readonly world: World
  readonly cli: CommandLine
  readonly backend: StorageBackend & OpenBackend
  readonly blocks: GuestBlocks
  readonly notes: Notes
}

/** What a step leaves for those after it. */
export interface Notes {
  /** Between which blocks each snapshot was taken; undefined where there are none. */
  snapshots?: ReadonlyMap<string, readonly [from: number, to: number]>
  /** The same of those that went along when the disk moved. */
  carried?: ReadonlyMap<string, readonly [from: number, to: number]>
  /** The last block that was written. */
  lastBlock?: number
}

/** Makes a scene of a world, with the backend's servers. */
export async function setScene(t: TestContext, world: World, backend: StorageBackend): Promise<Scene> {
  const cli = new CommandLine(world)
  const opened = await backend.open(t, world, cli)
  return { world, cli, backend: { ...backend, ...opened }, blocks: new GuestBlocks(cli, 'web1'), notes: {} }
}

/** The pool that is tested. */
export function poolOf({ cli }: Scene): Promise<Pool> {
  return cli.show<Pool>('pool', 'show', 'tested')
}

/** The volume that VM `web1` has its data on. */
export async function dataOf({ cli }: Scene): Promise<string> {
  const { spec } = await cli.show<Vm>('vm', 'show', 'web1')
  const disk = spec.disks.find(({ name }) => name === 'data')
  return `${disk?.pool}/${disk?.volume}`
}

/** Waits until the guest has a number of disks. */
export async function untilGuestHas({ world }: Scene, disks: number): Promise<void> {
  const seen = async () => (await world.vm('web1').shell('ls /sys/block')).split('\n').length === disks
  await eventually(seen, { withinMs: 60_000, what: `the guest has ${disks} disks` })
}

/** Asserts that nothing is left of what was begun, and that what lies in the pool is what was recorded. */
export async function assertSound({ world, cli, backend }: Scene): Promise<void> {
  let problems: readonly string[] = []
  await eventually(
    async () => {
      const volumes = await cli.show<readonly Volume[]>('volume', 'list')
      const own = volumes.filter(({ pool }) => pool === 'tested')
      const shown = await Promise.all(
        own.map(({ name }) => cli.show<Volume>('volume', 'show', `tested/${name}`)),
      )
      const parts = (await readdir(world.place.base)).filter((name) => name.endsWith('.part'))
      problems = [...(await backend.differences(shown)), ...parts]
      return problems.length === 0
    },
    { withinMs: 30_000, everyMs: 250, what: 'the pool holds what was recorded' },
  ).catch(() => {})
  assert.deepEqual(problems, [])
}

/** A file of the world for the command line. */
export function scratch({ world }: Scene, name: string): string {
  return join(world.place.base, name)
}
