/** Secrets among the operations whose every step a daemon may die at. */
import { endpoints, KvasirError } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import type { World } from './world.ts'

/** The operations on secrets. */
export const secretOperations: readonly Operation[] = [
  {
    name: 'keep a secret',
    about: [],
    prepare: (world) => removeSecret(world, 'kept'),
    run: (world) => keepSecret(world, 'kept'),
    isDone: (world) => hasSecret(world, 'kept'),
  },
  {
    name: 'set a secret',
    about: [],
    prepare: async (world) => {
      if (!(await hasSecret(world, 'set'))) await keepSecret(world, 'set')
    },
    run: async (world) => {
      await world.client.call(endpoints.setSecret, { params: { secret: 'set' }, body: { value: 'another' } })
    },
    isDone: (world) => hasSecret(world, 'set'), // One or the other, which nobody is told.
  },
  {
    name: 'delete a secret',
    about: [],
    prepare: async (world) => {
      if (!(await hasSecret(world, 'unkept'))) await keepSecret(world, 'unkept')
    },
    run: (world) => removeSecret(world, 'unkept'),
    isDone: async (world) => !(await hasSecret(world, 'unkept')),
  },
]

async function hasSecret(world: World, name: string): Promise<boolean> {
  return (await world.client.call(endpoints.listSecrets)).some((secret) => secret.name === name)
}

async function keepSecret(world: World, name: string): Promise<void> {
  await world.client.call(endpoints.createSecret, { body: { name, value: `what ${name} is` } })
}

async function removeSecret(world: World, name: string): Promise<void> {
  await world.client.call(endpoints.deleteSecret, { params: { secret: name } }).catch((error: unknown) => {
    if (!(error instanceof KvasirError && error.code === 'secret-not-found')) throw error
  })
}
