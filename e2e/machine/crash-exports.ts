/** Exports among the operations whose every step a daemon may die at. */
import { endpoints, type VmSpecInput } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import type { Operation } from './crash-operation.ts'
import { bring, diskless, hasVolume, removeVolume } from './crash-steps.ts'
import { chainDifferences } from './snapshots.ts'

const jobMs = 60_000
const volume = 'exported-data.monday'
const spec: VmSpecInput = { ...diskless, disks: [{ name: 'data', size: '64MiB' }] }

/** All operations that export. */
export const exportOperations: readonly Operation[] = [
  {
    name: 'export a running VM',
    about: ['exported'],
    points: /^vm\.export\./,
    async prepare(world) {
      await removeVolume(world, volume)
      await bring(world, 'exported', 'running', spec)
    },
    async run(world) {
      const params = { name: 'exported' }
      const job = await world.client.call(endpoints.exportVm, { params, body: { name: 'monday' } })
      await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
    },
    async isDone(world) {
      const problems = await chainDifferences(world, world.vm('exported'))
      if (problems.length > 0) throw new Error(problems.join(' '))
      return await hasVolume(world, volume)
    },
  },
]
