/** Pools: where volumes lie. A pool is a row that says where, and what was last seen there. */
import { z } from 'zod'
import { hostPath, resourceName } from './names.ts'
import { bytes, timestamp } from './units.ts'

/** What pools are made of. */
export const poolTypes = ['dir', 'lvm', 'lvm-thin', 'nfs', 'iscsi', 'rbd'] as const
export type PoolType = (typeof poolTypes)[number]

/** `unreachable`: it was started, and what it is made of did not answer in time or is not what it was. */
export const poolStates = ['active', 'inactive', 'unreachable'] as const
export type PoolState = (typeof poolStates)[number]

/** What a backend can do with its volumes. */
export const poolCapabilities = z
  .strictObject({
    formats: z.array(z.enum(['qcow2', 'raw'])),
    linkedClones: z.boolean().meta({ description: 'A volume can be made of another without copying it.' }),
    independentClones: z.boolean().meta({
      description: 'What is made of another so does not need it any more; else it is an overlay of it.',
    }),
    nativeSnapshots: z.boolean(),
    encryption: z.boolean().optional().meta({ description: 'Volumes can be encrypted.' }),
    shrink: z.boolean(),
    importInPlace: z.boolean(),
  })
  .meta({ id: 'PoolCapabilities' })

export type PoolCapabilities = z.output<typeof poolCapabilities>

/** What lies in a pool and should not, or should and does not. */
export const poolFinding = z
  .strictObject({
    kind: z.enum(['missing', 'foreign', 'orphan', 'changed']).meta({
      description:
        'missing: a volume without its file. foreign: not ours. orphan: named as ours, in no row. changed: not as it was recorded.',
    }),
    file: z.string(),
    volume: resourceName.optional(),
    sizeBytes: bytes.optional(),
    detail: z.string(),
  })
  .meta({ id: 'PoolFinding' })

export type PoolFinding = z.output<typeof poolFinding>

/** For pools without snapshots of their own; the default pool when nothing is said. */
export const layersIn = resourceName.optional().meta({
  description: 'The pool of files that takes the layers of snapshots of its volumes.',
})

export const pool = z
  .strictObject({
    name: resourceName,
    type: z.enum(poolTypes),
    path: hostPath.optional(),
    place: z.string().meta({ description: 'What it is made of: a folder, a volume group, a target.' }),
    state: z.enum(poolStates),
    reason: z.string().meta({ description: 'Why it is in this state.' }),
    since: timestamp,
    layersIn,
    autostart: z.boolean(),
    capacityBytes: bytes.optional(),
    allocatedBytes: bytes.optional().meta({ description: 'Taken on what the pool lies on, by others too.' }),
    availableBytes: bytes.optional(),
    provisionedBytes: bytes.meta({ description: 'What its volumes show their guests, all together.' }),
    volumes: z.int().nonnegative(),
    health: z.enum(['good', 'warning', 'bad', 'unknown']),
    remarks: z.array(z.string()).meta({ description: 'What its health is judged by, in sentences.' }),
    seenAt: timestamp.optional().meta({ description: 'When it last answered.' }),
    findings: z
      .array(poolFinding)
      .optional()
      .meta({ description: 'What the last refresh found; absent before the first one.' }),
    capabilities: poolCapabilities,
    createdAt: timestamp,
  })
  .meta({ id: 'Pool' })

export type Pool = z.output<typeof pool>
