/** Snapshots among the operations whose every step a daemon may die at: of a VM that runs, and of one that does not. */
import { KvasirError, type VmSpecInput } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, diskless } from './crash-steps.ts'
import { eventually } from './eventually.ts'
import { chainDifferences, snapshotsOf } from './snapshots.ts'
import type { World } from './world.ts'

const stillMs = 15_000
const spec: VmSpecInput = {
  ...diskless,
  disks: [
    { name: 'root', size: '64MiB' },
    { name: 'data', size: '64MiB' },
  ],
}

const has = async (world: World, vm: string, name: string) =>
  (await snapshotsOf(world, world.vm(vm)).list()).some((one) => one.name === name && one.state === 'ready')

/** Makes sure that a VM has a snapshot, or has not. */
async function bringSnapshot(
  world: World,
  vm: string,
  { name, is }: { name: string; is: boolean },
): Promise<void> {
  const snapshots = snapshotsOf(world, world.vm(vm))
  const found = (await snapshots.list()).find((one) => one.name === name)
  if (found && (!is || found.state !== 'ready')) await snapshots.delete(name)
  if (is && found?.state !== 'ready') await snapshots.create(name)
}

/** A VM that was being started or ended when its daemon died is, soon. */
async function untilStill(world: World, vm: string): Promise<void> {
  const isStill = async () => !['starting', 'stopping'].includes(await world.vm(vm).state()) || undefined
  await eventually(isStill, { withinMs: stillMs, what: `VM ${vm} is neither started nor ended` })
}

/** The operation was done, or was not, and either way nothing disagrees about the chains. */
async function agrees(world: World, vm: string): Promise<void> {
  const problems = await chainDifferences(world, world.vm(vm))
  if (problems.length > 0) throw new Error(problems.join(' '))
}

function operationsOf(vm: string, state: 'running' | 'shutoff'): readonly Operation[] {
  const what = state === 'running' ? 'of a running VM' : 'of a VM that is off'
  return [
    {
      name: `take a snapshot ${what}`,
      about: [vm],
      points: /^snapshot\./,
      async prepare(world) {
        await bring(world, vm, state, spec)
        await bringSnapshot(world, vm, { name: 'older', is: true })
        await bringSnapshot(world, vm, { name: 'taken', is: false })
      },
      run: async (world) => void (await snapshotsOf(world, world.vm(vm)).create('taken')),
      async isDone(world) {
        await agrees(world, vm)
        return await has(world, vm, 'taken')
      },
    },
    {
      name: `delete a snapshot ${what}`,
      about: [vm],
      points: /^snapshot\./,
      async prepare(world) {
        await bring(world, vm, state, spec)
        await bringSnapshot(world, vm, { name: 'middle', is: true })
        await bringSnapshot(world, vm, { name: 'taken', is: true })
      },
      run: (world) => deleteOrFollow(world, vm, 'middle'),
      async isDone(world) {
        const snapshots = await snapshotsOf(world, world.vm(vm)).list()
        if (snapshots.some(({ name }) => name === 'middle')) return false
        await agrees(world, vm)
        return true
      },
    },
    {
      name: `go back to a snapshot ${what}`,
      about: [vm],
      points: /^snapshot\./,
      onlyDies: state === 'running',
      async prepare(world) {
        await bring(world, vm, state, spec)
        await bringSnapshot(world, vm, { name: 'older', is: true })
        await bringSnapshot(world, vm, { name: 'taken', is: true })
      },
      run: async (world) => void (await snapshotsOf(world, world.vm(vm)).revert('older')),
      async isDone(world) {
        await untilStill(world, vm)
        await agrees(world, vm)
        const current = (await snapshotsOf(world, world.vm(vm)).list()).find((one) => one.current)
        return current?.name === 'older' // A start that was broken off leaves the VM off, as any does.
      },
    },
  ]
}

/** A daemon goes on by itself with a deletion that was begun, so that who asks again may find it gone. */
async function deleteOrFollow(world: World, vm: string, name: string): Promise<void> {
  try {
    await snapshotsOf(world, world.vm(vm)).delete(name)
  } catch (error) {
    if (!(error instanceof KvasirError && error.code === 'snapshot-not-found')) throw error
  }
}

/** All operations on snapshots. */
export const snapshotOperations: readonly Operation[] = [
  {
    name: 'take a snapshot with memory',
    about: ['snapped'],
    points: /^snapshot\.memory\./,
    async prepare(world) {
      await bring(world, 'snapped', 'running', spec)
      await bringSnapshot(world, 'snapped', { name: 'whole', is: false })
    },
    run: async (world) =>
      void (await snapshotsOf(world, world.vm('snapped')).create('whole', { memory: true })),
    async isDone(world) {
      const isOver = async () =>
        (await snapshotsOf(world, world.vm('snapped')).list()).every(({ state }) => state === 'ready') ||
        undefined
      await eventually(isOver, { withinMs: stillMs, what: 'a snapshot without its memory is deleted' })
      await agrees(world, 'snapped')
      return await has(world, 'snapped', 'whole')
    },
  },
  ...operationsOf('snapped', 'running'),
  ...operationsOf('snapped-off', 'shutoff'),
]
