/** From the flags of `kvasir pool create` to the pool that is asked for: each type has its own. */
import { resolve } from 'node:path'
import type { NewPoolInput } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'
import { iscsiPool } from './new-iscsi-pool.ts'
import { lvmPool, lvmThinPool } from './new-lvm-pool.ts'
import { nfsPool } from './new-nfs-pool.ts'
import { rbdPool } from './new-rbd-pool.ts'

/** The types that pools can be made of, each with how its flags are read. */
const newPools = {
  dir: dirPool,
  lvm: lvmPool,
  'lvm-thin': lvmThinPool,
  nfs: nfsPool,
  iscsi: iscsiPool,
  rbd: rbdPool,
} as const satisfies { readonly [Type in NewPoolInput['type']]: (context: Context) => NewPoolInput }

/** The pool that the flags ask for; a folder unless they say otherwise. */
export function newPoolOf(context: Context): NewPoolInput {
  const type = context.choice('type', Object.keys(newPools)) ?? 'dir'
  const read = Object.entries(newPools).find(([name]) => name === type)?.[1] ?? dirPool
  const asked = read(context)
  const layersIn = context.value('layers-in')
  if (layersIn !== undefined && !takesLayersElsewhere(asked))
    throw new UsageError(
      `A pool of type ${type} has snapshots itself.`,
      '--layers-in is for lvm, iscsi, and nfs with --direct.',
    )
  return {
    ...asked,
    ...(layersIn === undefined ? {} : { layersIn }),
    ...(context.has('no-autostart') ? { autostart: false } : {}),
    ...(context.has('force') ? { force: true } : {}),
  }
}

function takesLayersElsewhere({ type }: NewPoolInput): boolean {
  return type === 'lvm' || type === 'iscsi' || type === 'nfs'
}

function dirPool(context: Context): NewPoolInput {
  const path = context.value('path')
  if (path === undefined) throw new UsageError('--path is missing.', 'Write --path /srv/pool, for example.')
  return { type: 'dir', name: context.argument('POOL'), path: resolve(path) }
}
