/** Imports in place among the operations whose every step a daemon may die at. */
import assert from 'node:assert/strict'
import { chown, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endpoints } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { hasVolume, removeVolume } from './crash-steps.ts'
import { eventually } from './eventually.ts'
import type { World } from './world.ts'

const name = 'adopted'
const file = 'adopted.img'
const owner = 1234

/** The operations on files that others made. */
export const importOperations: readonly Operation[] = [
  {
    name: 'import a file in its place',
    about: [],
    isKeyed: true,
    points: /^volume\.import\./,
    async prepare(world) {
      await removeVolume(world, name)
      await writeFile(fileIn(world), '')
      await truncate(fileIn(world), 2 ** 20)
      await chown(fileIn(world), owner, owner)
    },
    run: importFile,
    isDone: (world) => hasVolume(world, name),
  },
]

const fileIn = (world: World) => join(world.place.stateDir, 'volumes', file)

/** What a daemon died over is whose it was, before it is imported again. */
async function importFile(world: World, key: string): Promise<void> {
  if (!(await hasVolume(world, name)))
    await eventually(async () => (await stat(fileIn(world))).uid === owner, {
      withinMs: 10_000,
      what: 'the file is given back',
    })
  const body = { name, file, format: 'raw' as const }
  const params = { pool: 'default' }
  await world.client.call(endpoints.importVolume, { params, body, idempotencyKey: key })
  assert.equal((await stat(fileIn(world))).uid, 0)
}
