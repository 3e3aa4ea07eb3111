/** Everything under `/v1/pools` but volumes. */
import type { Pool } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { compareContents, strangersAmong } from '../../model/storage/pool-contents.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { vmsUsing } from '../volumes/volume-use.ts'
import { createPool, defaultPool } from './create-pool.ts'
import { deletePool } from './delete-pool.ts'
import { requireLayersIn } from './layers-place.ts'
import { lookInto } from './look-into.ts'
import { showPool } from './show-pool.ts'
import { placeName, requirePool } from './usable-pool.ts'

type PoolHandlerIds =
  | 'listPools'
  | 'getPool'
  | 'createPool'
  | 'changePool'
  | 'startPool'
  | 'stopPool'
  | 'refreshPool'
  | 'deletePool'

/** The handlers of pools. */
export function createPoolHandlers(context: Context): Pick<Handlers, PoolHandlerIds> {
  const { ports, pools } = context
  const { store } = ports
  return {
    async listPools() {
      const made = store.pools.list().filter((pool) => pool.phase !== 'creating')
      return made.map((pool) => showPool(pool, context))
    },
    getPool: async ({ params }) => showPool(requirePool(params.pool, ports), context),
    createPool: ({ body, keep }) => createPool(body, context, keep),
    async changePool({ params, body }) {
      const pool = requireReady(params.pool, context)
      if (body.layersIn !== undefined) requireLayersIn(pool, body.layersIn, ports)
      const { autostart = pool.autostart, layersIn = pool.layersIn } = body
      return change(pool, { autostart, ...(layersIn === undefined ? {} : { layersIn }) }, context)
    },
    async startPool({ params }) {
      const pool = requireReady(params.pool, context)
      if (!pool.started) change(pool, { started: true }, context)
      const started = requirePool(params.pool, ports)
      await pools.probe(started)
      return showPool(started, context)
    },
    async stopPool({ params }) {
      const pool = requireReady(params.pool, context)
      requireStoppable(pool, context)
      if (!pool.started) return showPool(pool, context)
      change(pool, { started: false }, context)
      const backend = ports.pools.of(pool)
      // What it holds on the host may stay; what the pool is stopped for may be that it does not answer.
      await backend
        .rest?.()
        .catch((error: unknown) =>
          ports.log.warn({ pool: pool.name, err: error }, 'a stopped pool stays as it is on the host'),
        )
      backend.close()
      const stopped = requirePool(params.pool, ports)
      pools.noteStopped(stopped)
      return showPool(stopped, context)
    },
    refreshPool: ({ params }) => refreshPool(requireReady(params.pool, context), context),
    async deletePool({ params, query }) {
      await deletePool(requirePool(params.pool, ports), context, { removesData: query.data === 'remove' })
      return undefined
    },
  }
}

/** Looks at what lies in a pool. What is found is told, and nothing is done about it. */
async function refreshPool(pool: PoolRecord, context: Context): Promise<Pool> {
  const { ports, pools } = context
  if (!pool.started)
    throw new KvasirError(
      'pool-inactive',
      `Pool ${pool.name} is not started, so nothing in it can be looked at.`,
    )
  const seen = await pools.probe(pool)
  if (seen.state !== 'active')
    throw new KvasirError('pool-unreachable', `Pool ${pool.name} cannot be looked at: ${seen.reason}.`, {
      details: { pool: pool.name, reason: seen.reason },
    })
  const backend = ports.pools.of(pool)
  const entries = await backend.list()
  const volumes = ports.store.volumes.list().filter((volume) => placeName(volume) === pool.name)
  const beginnings = await lookInto(pool, strangersAmong(entries, volumes), ports)
  const findings = compareContents(entries, volumes, { beginnings, formats: backend.capabilities.formats })
  const before = JSON.stringify(seen.findings ?? [])
  pools.noteFindings(pool, findings)
  if (JSON.stringify(findings) !== before)
    context.emit('pool.findings', pool.name, {
      missing: findings.filter(({ kind }) => kind === 'missing').length,
      foreign: findings.filter(({ kind }) => kind !== 'missing').length,
    })
  return showPool(pool, context)
}

function requireReady(name: string, { ports }: Context): PoolRecord {
  const pool = requirePool(name, ports)
  if (pool.phase === 'ready') return pool
  throw new KvasirError('busy', `Pool ${name} is being deleted; delete it again to go on.`)
}

function change(
  pool: PoolRecord,
  changed: Partial<Pick<PoolRecord, 'autostart' | 'layersIn' | 'started'>>,
  context: Context,
): Pool {
  const { store } = context.ports
  const next = { ...(store.pools.get(pool.id) ?? pool), ...changed } // What is being imported is told there.
  store.transaction(() => {
    store.pools.update(next)
    if (next.autostart !== pool.autostart || next.layersIn !== pool.layersIn)
      context.emit('pool.changed', pool.name, changed)
  })
  return showPool(next, context)
}

/** A pool under a running emulator is not stopped: nothing would become of its disks, but nobody could say so. */
function requireStoppable(pool: PoolRecord, { ports, drivers }: Context): void {
  if (pool.name === defaultPool)
    throw new KvasirError(
      'in-use',
      'The pool default is where the daemon keeps its own, so it is not stopped.',
    )
  const volumes = ports.store.volumes
    .list()
    .filter((volume) => [volume.pool, placeName(volume)].includes(pool.name))
  for (const volume of volumes)
    for (const user of vmsUsing(volume, ports.store)) {
      const state = drivers.get(user.id)?.view().record.life.state
      if (state === undefined || state === 'shutoff' || state === 'crashed' || state === 'saved') continue
      throw new KvasirError(
        'in-use',
        `VM ${user.name} is ${state} and uses volume ${volume.name}, so pool ${pool.name} is not stopped.`,
      )
    }
}
