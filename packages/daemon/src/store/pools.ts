/** The rows of pools: where each one's volumes lie, and how far its making or its end has come. */
import { z } from 'zod'
import type { PoolRecord, Store } from '../ports/store.ts'
import type { Database } from './database.ts'
import { lvmSources } from './lvm-sources.ts'
import { namedRows } from './named-rows.ts'
import { rbdSource } from './rbd-sources.ts'
import { serverSources } from './server-sources.ts'

const poolContent = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  source: z.discriminatedUnion('type', [
    z.object({ type: z.literal('dir'), path: z.string().optional() }),
    ...lvmSources,
    ...serverSources,
    rbdSource,
  ]),
  layersIn: z.string().min(1).optional(),
  autostart: z.boolean(),
  started: z.boolean(),
  bootId: z.string(),
  phase: z.enum(['creating', 'ready', 'deleting']),
  removesData: z.boolean(),
  taken: z.array(z.object({ file: z.string(), before: z.array(z.string()) })).optional(),
  createdAt: z.string(),
})

/** The repository of pool rows. */
export function poolRows(database: Database): Store['pools'] {
  return namedRows(database, {
    table: 'pools',
    noun: 'pool',
    notFound: 'pool-not-found',
    remains: 'what lies in it is',
    parse: parsePool,
  })
}

function parsePool(content: unknown): PoolRecord | undefined {
  const parsed = poolContent.safeParse(content)
  if (!parsed.success) return undefined
  const { source, layersIn, taken, ...plain } = parsed.data
  const rest = {
    ...plain,
    ...(layersIn === undefined ? {} : { layersIn }),
    ...(taken === undefined ? {} : { taken }),
  }
  if (source.type === 'dir') return { ...rest, source: { type: source.type, path: source.path } }
  if (source.type === 'lvm' || source.type === 'nfs') return { ...rest, source }
  if (source.type === 'lvm-thin') return { ...rest, source: { ...source, sizeBytes: source.sizeBytes } }
  if (source.type === 'iscsi')
    return { ...rest, source: { ...source, user: source.user, secretId: source.secretId } }
  const { namespace, secretId } = source
  return { ...rest, source: { ...source, namespace, secretId } }
}
