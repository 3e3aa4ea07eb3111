/** Flattening among the operations whose every step a daemon may die at: of a VM that runs, and of one that does not. */
import { endpoints } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import type { Operation } from './crash-operation.ts'
import { bring, cloneVolume, createVolume, diskless, hasVolume, remove, removeVolume } from './crash-steps.ts'
import { chainDifferences } from './snapshots.ts'
import type { World } from './world.ts'

const jobMs = 60_000
const pool = 'default'

function operation(vm: string, state: 'running' | 'shutoff'): Operation {
  const volume = `${vm}-copy`
  const spec = { ...diskless, disks: [{ name: 'data', volume }] }
  const isFlat = async (world: World) =>
    (await world.client.call(endpoints.getVolume, { params: { pool, volume } })).base === undefined
  return {
    name: `flatten a clone of a VM that is ${state === 'running' ? 'running' : 'off'}`,
    about: [vm],
    points: /^volume\.flatten\./,
    async prepare(world) {
      const isThere = (await hasVolume(world, volume)) && !(await isFlat(world))
      if (!isThere) {
        await remove(world, vm)
        await removeVolume(world, volume)
        if (!(await hasVolume(world, 'origin'))) await createVolume(world, 'origin')
        await cloneVolume(world, { from: 'origin', name: volume }, crypto.randomUUID())
      }
      await bring(world, vm, state, spec)
    },
    async run(world) {
      if (await isFlat(world)) return // A daemon goes on by itself with what was begun.
      const job = await world.client.call(endpoints.flattenVolume, { params: { pool, volume } })
      await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
    },
    async isDone(world) {
      if (!(await isFlat(world))) return false
      const problems = await chainDifferences(world, world.vm(vm))
      if (problems.length > 0) throw new Error(problems.join(' '))
      return true
    },
  }
}

/** All operations that flatten. */
export const flattenOperations: readonly Operation[] = [
  operation('flattens', 'running'),
  operation('flattens-off', 'shutoff'),
]
