/** Volumes: what each is, and making and deleting them. */
import type { Volume } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Store, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { requirePool, usablePool } from '../pools/usable-pool.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { askPoolsOf } from './ask-pools.ts'
import { beginCheckVolume } from './check-volume.ts'
import { beginCloneVolume, beginConvertVolume } from './copy-volume.ts'
import { createVolume } from './create-volume.ts'
import { askFewAtOnce } from './few-at-once.ts'
import { beginFlattenVolume } from './flatten-volume.ts'
import { requireNoWork } from './hold-volume.ts'
import { importVolume } from './import-volume.ts'
import { resizeVolume } from './resize-volume.ts'
import { showVolume } from './show-volume.ts'
import { clonesOf, holderOf, volumeUses } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'
import { beginWipeVolume } from './wipe-volume.ts'

type VolumeHandlerIds =
  | 'listVolumes'
  | 'listPoolVolumes'
  | 'getVolume'
  | 'createVolume'
  | 'importVolume'
  | 'resizeVolume'
  | 'cloneVolume'
  | 'convertVolume'
  | 'flattenVolume'
  | 'checkVolume'
  | 'repairVolume'
  | 'wipeVolume'
  | 'deleteVolume'

/** The handlers of everything that is about volumes. */
export function createVolumeHandlers(context: Context): Pick<Handlers, VolumeHandlerIds> {
  const { store } = context.ports
  const showAll = async (wanted: (volume: VolumeRecord) => boolean): Promise<Volume[]> => {
    const made = store.volumes.list().filter((volume) => volume.phase !== 'creating' && wanted(volume))
    const uses = volumeUses(store)
    return await askFewAtOnce(made, (volume) => showVolume(volume, context, uses))
  }
  return {
    listVolumes: () => showAll(() => true),
    async listPoolVolumes({ params }) {
      requirePool(params.pool, context.ports)
      return await showAll((volume) => volume.pool === params.pool)
    },
    getVolume: async ({ params }) => await showVolume(requireVolume(params, context), context),
    createVolume: ({ params, body, keep }) => createVolume(params.pool, body, { context, keep }),
    importVolume: ({ params, body, keep }) => importVolume(params.pool, body, { context, keep }),
    async resizeVolume({ params, body }) {
      return await resizeVolume(requireVolume(params, context), body, context)
    },
    async cloneVolume({ params, query, body, caller, keep, signal }) {
      const job = beginCloneVolume(requireVolume(params, context), body, { context, caller, keep })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async convertVolume({ params, query, body, caller, keep, signal }) {
      const job = beginConvertVolume(requireVolume(params, context), body, { context, caller, keep })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async checkVolume({ params, query, caller, signal }) {
      const job = beginCheckVolume(requireVolume(params, context), { repair: false }, { context, caller })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async repairVolume({ params, query, caller, signal }) {
      const job = beginCheckVolume(requireVolume(params, context), { repair: true }, { context, caller })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async wipeVolume({ params, query, body, caller, signal }) {
      const job = beginWipeVolume(requireVolume(params, context), body, { context, caller })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async flattenVolume({ params, query, caller, keep, signal }) {
      const job = beginFlattenVolume(requireVolume(params, context), { context, caller, keep })
      return await context.jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async deleteVolume({ params }) {
      const deleting = await markDeleted(params, context)
      await removeVolume(deleting, context)
      return undefined
    },
  }
}

/** Asks its pool and writes down that a volume goes, from where there is no way back. Refuses one that somebody uses. */
async function markDeleted(
  place: { readonly pool: string; readonly volume: string },
  context: Context,
): Promise<VolumeRecord> {
  const { failpoint, store } = context.ports
  const requireFree = () => {
    const volume = requireVolume(place, context)
    requireNoWork(volume)
    usablePool(volume.pool, context.ports)
    requireUnused(volume, store)
    return volume
  }
  // What it lies on does not matter for this.
  await askPoolsOf([{ ...requireFree(), baseId: undefined }], context.ports)
  await failpoint('volume.delete.before-phase')
  const deleting = store.transaction(() => {
    const row: VolumeRecord = { ...requireFree(), phase: 'deleting' }
    store.volumes.update(row)
    return row
  })
  await failpoint('volume.delete.after-phase')
  return deleting
}

/** Refuses what somebody uses, or is based on. */
function requireUnused(volume: VolumeRecord, store: Store): void {
  const holder = holderOf(volume, store)
  if (holder)
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(volume)} is in use by ${holder}, so it is not deleted.`,
    )
  const clones = clonesOf(volume, store)
  if (clones !== undefined)
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(volume)} is what linked clones are based on (${clones}), so it is not deleted.`,
      { details: { clones } },
    )
}

/** The row of a volume. `pool-not-found`, `volume-not-found`. */
export function requireVolume(
  { pool, volume: name }: { readonly pool: string; readonly volume: string },
  context: Context,
): VolumeRecord {
  requirePool(pool, context.ports)
  const volume = context.ports.store.volumes.find(pool, name)
  if (volume && volume.phase !== 'creating') return volume
  throw new KvasirError('volume-not-found', `There is no volume ${volumeWords({ pool, name })}.`)
}
