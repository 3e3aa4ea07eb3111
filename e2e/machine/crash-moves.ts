/** Moves of disks among the operations whose every step a daemon may die at. */
import { endpoints, KvasirError, type VmSpecInput } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, diskless } from './crash-steps.ts'
import { addPool, movesOf } from './moves.ts'
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
]
