/** Creates a pool: a row that says `creating`, the mark on what it is made of, then `ready`. Recovery undoes what was interrupted. */
import type { NewPool, Pool } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { isOfTheSystem } from '../../model/storage/pool-place.ts'
import type { IscsiSource } from '../../ports/pool-source.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requireLayersIn } from './layers-place.ts'
import { poolSource } from './pool-source.ts'
import { roomOf, showPool } from './show-pool.ts'

/** The pool that is always there. */
export const defaultPool = 'default'

/** Creates a pool and starts it. `name-taken`, `pool-refused`. */
export async function createPool(
  wanted: NewPool,
  context: Context,
  keep: (answer: Pool) => void,
): Promise<Pool> {
  const { ports, pools } = context
  const { store, failpoint } = ports
  await failpoint('pool.create.before-row')
  const layersWish = 'layersIn' in wanted ? wanted.layersIn : undefined
  const record: PoolRecord = {
    ...newRecord(wanted.name, poolSource(wanted, store), ports, wanted.autostart),
    ...(layersWish === undefined ? {} : { layersIn: layersWish }),
  }
  requireOwnPlace(record, ports)
  if (record.layersIn !== undefined) requireLayersIn(record, record.layersIn, ports)
  store.pools.insert(record)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => undoPool(record, context))
  await failpoint('pool.create.after-row')
  await ports.pools.of(record).claim({ force: wanted.force })
  await failpoint('pool.create.after-claim')
  const ready: PoolRecord = { ...record, phase: 'ready' }
  const space = await ports.pools.of(record).inspect()
  const answer = store.transaction(() => {
    store.pools.update(ready)
    context.emit('pool.created', record.name, { id: record.id, type: record.source.type })
    const shown = {
      ...showPool(ready, context),
      ...roomOf(space),
      state: 'active' as const,
      reason: 'it answers',
    }
    keep(shown)
    return shown
  })
  undo.move()
  await pools.probe(ready)
  await failpoint('pool.create.after-ready')
  return { ...answer, ...showPool(ready, context) }
}

/** Takes back a pool that was not finished. Safe to repeat. */
export async function undoPool(
  record: PoolRecord,
  { ports, pools }: Pick<Context, 'ports' | 'pools'>,
): Promise<void> {
  try {
    await ports.pools.of(record).release()
  } finally {
    ports.store.pools.remove(record.id) // A mark that stays is told of when somebody wants the folder.
    pools.forget(record)
  }
}

/** Gives a store the pool that every daemon has. */
export function ensureDefaultPool(ports: Ports): void {
  const { store } = ports
  if (store.pools.findByName(defaultPool)) return
  store.pools.insert({
    ...newRecord(defaultPool, { type: 'dir', path: undefined }, ports, true),
    phase: 'ready',
  })
}

function newRecord(
  name: string,
  source: PoolRecord['source'],
  { clock, bootId }: Ports,
  autostart: boolean,
): PoolRecord {
  return {
    id: clock.uuid(),
    name,
    source,
    autostart,
    started: true,
    bootId,
    phase: 'creating',
    removesData: false,
    createdAt: clock.now(),
  }
}

/** Two pools in one folder, or one in the other, would take each other's files for foreign. */
function requireOwnPlace({ name, source }: PoolRecord, ports: Ports): void {
  const { store } = ports
  if (store.pools.findByName(name))
    throw new KvasirError(
      'name-taken',
      `There is a pool ${name} already, so no other one can have that name.`,
    )
  if (source.type === 'dir' && source.path !== undefined) requireOwnFolder(name, source.path, ports)
  if (source.type === 'iscsi') requireOwnTarget(source, ports)
}

function requireOwnTarget({ server, port, target }: IscsiSource, { store }: Ports): void {
  for (const { name, source } of store.pools.list())
    if (source.type === 'iscsi' && source.target === target)
      throw new KvasirError(
        'pool-refused',
        `The target ${target} is pool ${name} already, so its LUNs at ${server}:${port} are not another one's.`,
      )
}

function requireOwnFolder(name: string, path: string, ports: Ports): void {
  if (isOfTheSystem(path))
    throw new KvasirError(
      'pool-refused',
      `The folder ${path} is the operating system's own, so no pool is made of it; take one for data, such as /srv/${name}.`,
    )
  for (const other of ports.store.pools.list()) {
    const taken = ports.pools.of(other).path
    if (taken === undefined) continue
    if (isInside(path, taken) || isInside(taken, path))
      throw new KvasirError(
        'pool-refused',
        `The folder ${path} and that of pool ${other.name}, ${taken}, lie in each other, so no pool is made of it.`,
      )
  }
}

function isInside(path: string, folder: string): boolean {
  return `${path}/`.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}
