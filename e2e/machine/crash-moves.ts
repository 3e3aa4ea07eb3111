/** Moves of disks among the operations whose every step a daemon may die at. */
import { endpoints, KvasirError, type VmSpecInput } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, diskless } from './crash-steps.ts'
import { addPool, movesOf } from './moves.ts'
import { snapshotsOf } from './snapshots.ts'
import type { World } from './world.ts'

const pool = 'move-to'
const spec: VmSpecInput = { ...diskless, disks: [{ name: 'data', size: '64MiB' }] }

async function poolOf(world: World): Promise<string | undefined> {
  return (await world.vm('moving').show()).spec.disks[0]?.pool
}

/** Moves the disk, unless a daemon that went on with a move has meanwhile. */
async function move(world: World, to: string): Promise<void> {
  if ((await poolOf(world)) !== to) await movesOf(world, world.vm('moving')).move('data', { pool: to })
}

async function moveLayered(world: World, to: string): Promise<void> {
  const vm = world.vm('layered')
  if ((await vm.show()).spec.disks[0]?.pool !== to) await movesOf(world, vm).move('data', { pool: to })
}

const filled = ['fill-a', 'fill-b'] as const
const fillSpec: VmSpecInput = { ...diskless, disks: [{ name: 'data', volume: filled[0] }] }

async function volumeOf(world: World): Promise<string | undefined> {
  return (await world.vm('filling').show()).spec.disks[0]?.volume
}

/** Moves the disk into one of the two volumes, both of which stay. */
async function moveInto(world: World, volume: string): Promise<void> {
  if ((await volumeOf(world)) === volume) return
  await movesOf(world, world.vm('filling')).move('data', { pool: 'default', volume, keep: true })
}

/** A move into a volume that is there, at these points. */
function fillOperation(state: 'running' | 'shutoff', points: RegExp): Operation {
  return {
    name: `move a disk of a VM that is ${state} into a volume that is there`,
    about: ['filling'],
    points,
    onlyDies: state === 'running', // Its steps are those of any move.
    async prepare(world) {
      for (const name of filled)
        await world.client
          .call(endpoints.createVolume, {
            params: { pool: 'default' },
            body: { name, size: 16 * 2 ** 20, format: 'raw' },
          })
          .catch((error: unknown) => {
            if (!(error instanceof KvasirError && error.code === 'name-taken')) throw error
          })
      await bring(world, 'filling', state, fillSpec)
      await moveInto(world, filled[0])
    },
    run: (world) => moveInto(world, filled[1]),
    async isDone(world) {
      const problems = await movesOf(world, world.vm('filling')).differences({ alone: false })
      if (problems.length > 0) throw new Error(problems.join(' '))
      return (await volumeOf(world)) === filled[1]
    },
  }
}

/** All operations on disks that move. */
export const moveOperations: readonly Operation[] = [
  {
    name: 'move a disk of a running VM',
    about: ['moving'],
    points: /^vm\.move\./,
    async prepare(world) {
      await addPool(world, pool).catch((error: unknown) => {
        if (!(error instanceof KvasirError && error.code === 'name-taken')) throw error
      })
      await world.client.call(endpoints.startPool, { params: { pool } })
      await bring(world, 'moving', 'running', spec)
      await move(world, 'default')
    },
    run: (world) => move(world, pool),
    async isDone(world) {
      const vm = world.vm('moving')
      const { path } = await movesOf(world, vm).volume('data')
      const problems = await movesOf(world, vm).differences({ alone: false })
      if (problems.length > 0) throw new Error(problems.join(' '))
      return path?.includes(`/${pool}/`) === true
    },
  },
  {
    name: 'move a disk with snapshots of a running VM',
    about: ['layered'],
    points: /^vm\.move\.after-(?:layer|row-switch)$/,
    onlyDies: true, // Its other steps are those of any move.
    async prepare(world) {
      await addPool(world, pool).catch((error: unknown) => {
        if (!(error instanceof KvasirError && error.code === 'name-taken')) throw error
      })
      await world.client.call(endpoints.startPool, { params: { pool } })
      await bring(world, 'layered', 'running', spec)
      const snapshots = snapshotsOf(world, world.vm('layered'))
      if ((await snapshots.list()).length === 0) await snapshots.create('taken')
      await moveLayered(world, 'default')
    },
    run: (world) => moveLayered(world, pool),
    async isDone(world) {
      const moves = movesOf(world, world.vm('layered'))
      const problems = await moves.differences({ alone: false })
      if (problems.length > 0) throw new Error(problems.join(' '))
      const { chain = [], pool: now } = await moves.volume('data')
      if (chain.length !== 1 || chain[0]?.pool !== now) throw new Error('Its layer is elsewhere.')
      return now === pool
    },
  },
  fillOperation('shutoff', /^vm\.fill\./),
  fillOperation('running', /^vm\.move\.after-(?:begin|row-switch)$/),
]
