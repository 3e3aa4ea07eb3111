/** The endpoints of pools. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { hostPath, resourceName } from './names.ts'
import { layersIn, pool } from './pool.ts'
import { newIscsiPool } from './pool-iscsi.ts'
import { newLvmPool, newLvmThinPool } from './pool-lvm.ts'
import { newNfsPool } from './pool-nfs.ts'
import { newRbdPool } from './pool-rbd.ts'

const byPool = z.strictObject({ pool: resourceName })

/** A pool as it is asked for; what it is made of differs by its type. */
export const newPool = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('dir'),
    name: resourceName,
    path: hostPath.meta({
      description: 'A folder of the host; made when it is missing and its parent is not.',
    }),
    autostart: z.boolean().default(true),
    force: z
      .boolean()
      .default(false)
      .meta({ description: 'Take the folder although it is marked as the pool of another daemon.' }),
  }),
  newLvmPool,
  newLvmThinPool,
  newNfsPool,
  newIscsiPool,
  newRbdPool,
])

export type NewPool = z.output<typeof newPool>
/** As it may be written: what has a default may be left out. */
export type NewPoolInput = z.input<typeof newPool>

/** What can be asked of pools. */
export const poolEndpoints = {
  listPools: endpoint({
    id: 'listPools',
    method: 'GET',
    path: '/v1/pools',
    summary: 'All pools',
    response: z.array(pool),
  }),
  getPool: endpoint({
    id: 'getPool',
    method: 'GET',
    path: '/v1/pools/{pool}',
    summary: 'One pool',
    params: byPool,
    response: pool,
  }),
  createPool: endpoint({
    id: 'createPool',
    method: 'POST',
    path: '/v1/pools',
    summary: 'Create a pool and start it',
    body: newPool,
    response: pool,
    status: 201,
    idempotent: true,
  }),
  changePool: endpoint({
    id: 'changePool',
    method: 'PATCH',
    path: '/v1/pools/{pool}',
    summary: 'Change whether a pool is started with the daemon, and what takes layers of its volumes',
    params: byPool,
    body: z.strictObject({ autostart: z.boolean().optional(), layersIn }),
    response: pool,
  }),
  startPool: endpoint({
    id: 'startPool',
    method: 'POST',
    path: '/v1/pools/{pool}/start',
    summary: 'Start a pool: its volumes can be used',
    params: byPool,
    response: pool,
  }),
  stopPool: endpoint({
    id: 'stopPool',
    method: 'POST',
    path: '/v1/pools/{pool}/stop',
    summary: 'Stop a pool that no running VM uses',
    params: byPool,
    response: pool,
  }),
  refreshPool: endpoint({
    id: 'refreshPool',
    method: 'POST',
    path: '/v1/pools/{pool}/refresh',
    summary: 'Look at what lies in a pool, and tell what is missing or foreign; nothing is adopted',
    params: byPool,
    response: pool,
  }),
  deletePool: endpoint({
    id: 'deletePool',
    method: 'DELETE',
    path: '/v1/pools/{pool}',
    summary: 'Delete a pool whose volumes nobody uses',
    params: byPool,
    query: z.strictObject({
      data: z
        .enum(['keep', 'remove'])
        .default('keep')
        .meta({ description: 'Whether the volumes stay where they lie, or are removed.' }),
    }),
  }),
} as const
