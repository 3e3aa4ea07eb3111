/** Exports among the operations whose every step a daemon may die at. */
import { endpoints, type VmSpecInput } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import type { Operation } from './crash-operation.ts'
import { bring, diskless, hasVolume, is, removeVolume } from './crash-steps.ts'
import { chainDifferences } from './snapshots.ts'
import type { World } from './world.ts'

const jobMs = 60_000
const volume = 'exported-data.monday'
const checkpoint = 'monday'
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
  {
    name: 'keep an instant of a running VM',
    about: ['kept'],
    points: /^vm\.instant\./,
    async prepare(world) {
      await bring(world, 'kept', 'running', spec)
      await dropCheckpoint(world, 'kept')
    },
    async run(world) {
      const params = { name: 'kept' }
      const { id } = await world.client.call(endpoints.createInstant, { params, body: { checkpoint } })
      await world.client.call(endpoints.endInstant, { params: { ...params, instant: id } })
    },
    isDone: (world) => hasCheckpoint(world, 'kept'),
  },
  {
    name: 'create a checkpoint',
    about: ['noted'],
    points: /^checkpoint\.create\./,
    async prepare(world) {
      await bring(world, 'noted', 'running', spec)
      await dropCheckpoint(world, 'noted')
    },
    async run(world) {
      await world.client.call(endpoints.createCheckpoint, {
        params: { name: 'noted' },
        body: { name: checkpoint },
      })
    },
    isDone: (world) => hasCheckpoint(world, 'noted'),
  },
  {
    name: 'end a VM with a checkpoint of a raw disk',
    about: ['put-away'],
    points: /^checkpoint\.put-away\./,
    prepare: (world) => bringNoted(world, 'put-away'),
    run: async (world) => void (await world.vm('put-away').powerOff()),
    isDone: (world) => is(world, 'put-away', 'shutoff'),
  },
  {
    name: 'start a VM with a checkpoint of a raw disk',
    about: ['taken-back'],
    points: /^checkpoint\.take-back\./,
    async prepare(world) {
      await bringNoted(world, 'taken-back')
      await world.vm('taken-back').powerOff()
    },
    run: (world) => world.vm('taken-back').start(),
    isDone: (world) => is(world, 'taken-back', 'running'),
  },
  {
    name: 'delete a checkpoint',
    about: ['forgotten'],
    points: /^checkpoint\.delete\./,
    async prepare(world) {
      await bring(world, 'forgotten', 'running', spec)
      if (await hasCheckpoint(world, 'forgotten')) return
      const params = { name: 'forgotten' }
      await world.client.call(endpoints.createCheckpoint, { params, body: { name: checkpoint } })
    },
    run: (world) => dropCheckpoint(world, 'forgotten'),
    isDone: async (world) => !(await hasCheckpoint(world, 'forgotten')),
  },
]

/** A VM that runs, with a checkpoint of a raw disk. */
async function bringNoted(world: World, name: string): Promise<void> {
  await bring(world, name, 'running', {
    ...diskless,
    disks: [{ name: 'data', size: '64MiB', format: 'raw' }],
  })
  await dropCheckpoint(world, name)
  await world.client.call(endpoints.createCheckpoint, { params: { name }, body: { name: checkpoint } })
}

/** Whether a VM has the checkpoint. */
async function hasCheckpoint(world: World, name: string): Promise<boolean> {
  const list = await world.client.call(endpoints.listCheckpoints, { params: { name } })
  return list.some((one) => one.name === checkpoint)
}

async function dropCheckpoint(world: World, name: string): Promise<void> {
  if (!(await hasCheckpoint(world, name))) return
  await world.client.call(endpoints.deleteCheckpoint, { params: { name, checkpoint } })
}
