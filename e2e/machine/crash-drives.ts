/** Media of drives among the operations whose every step a daemon may die at. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endpoints } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, diskless, waitForChange } from './crash-steps.ts'
import type { World } from './world.ts'

const drive = { name: 'cd', device: 'cdrom', bus: 'virtio-scsi' } as const
const params = { name: 'reader', drive: 'cd' }

async function held(world: World): Promise<string | undefined> {
  const { spec, status } = await world.vm('reader').show()
  return status.restartNeeded?.length === 0 ? spec.disks[0]?.file : undefined
}

async function setMedium(world: World, file: string | undefined): Promise<void> {
  const vm = await world.client.call(endpoints.setMedium, { params, body: { file } })
  await waitForChange(world, vm)
}

/** All operations on drives. */
export const driveOperations: readonly Operation[] = [
  {
    name: 'change the medium of a running VM',
    about: ['reader'],
    prepare: async (world) => {
      for (const name of ['old.iso', 'new.iso'])
        await writeFile(join(world.place.base, name), Buffer.alloc(65_536, name))
      await bring(world, 'reader', 'running', { ...diskless, disks: [drive] })
      await setMedium(world, join(world.place.base, 'old.iso'))
    },
    run: (world) => setMedium(world, join(world.place.base, 'new.iso')),
    isDone: async (world) => (await held(world)) === join(world.place.base, 'new.iso'),
  },
]
