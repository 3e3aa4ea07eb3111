/** Volumes of the default pool. */
import type { Volume } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Handlers } from '../handlers.ts'
import { findImage, requireNotGone } from '../images/find-image.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { makeVolumeFile } from '../vms/make-volumes.ts'
import { holderOf, vmsUsing } from './volume-use.ts'

type VolumeHandlerIds = 'listVolumes' | 'getVolume' | 'createVolume' | 'deleteVolume'

/** The handlers of everything under `/v1/volumes`. */
export function createVolumeHandlers(context: Context): Pick<Handlers, VolumeHandlerIds> {
  const { store } = context.ports
  return {
    async listVolumes() {
      const made = store.volumes.list().filter((volume) => volume.phase !== 'creating')
      return await Promise.all(made.map((volume) => show(volume, context)))
    },
    getVolume: async ({ params }) => await show(requireVolume(params.name, context), context),
    async createVolume({ body, keep }) {
      const row = await planVolume(body, context)
      const { failpoint } = context.ports
      await failpoint('volume.create.before-row')
      store.transaction(() => {
        requireNotGone([row.imageId], context)
        store.volumes.insert(row)
      })
      await using undo = new AsyncDisposableStack()
      undo.defer(async () => {
        await context.ports.files.removeVolume(row.id)
        store.volumes.remove(row.id)
      })
      await failpoint('volume.create.after-row')
      await makeVolumeFile(row, context.ports)
      await failpoint('volume.create.after-file')
      const ready = { ...row, phase: 'ready' as const }
      const answer = await show(ready, context)
      store.transaction(() => {
        store.volumes.update(ready)
        context.emit('volume.created', row.name, { id: row.id })
        keep(answer)
      })
      undo.move()
      await failpoint('volume.create.after-ready')
      return answer
    },
    async deleteVolume({ params }) {
      const volume = requireVolume(params.name, context)
      const holder = holderOf(volume, store)
      if (holder)
        throw new KvasirError('in-use', `Volume ${volume.name} is in use by ${holder}, so it is not deleted.`)
      const deleting = { ...volume, phase: 'deleting' as const }
      await context.ports.failpoint('volume.delete.before-phase')
      store.volumes.update(deleting)
      await context.ports.failpoint('volume.delete.after-phase')
      await removeVolume(deleting, context)
      return undefined
    },
  }
}

function requireVolume(name: string, context: Context): VolumeRecord {
  const volume = context.ports.store.volumes.findByName(name)
  if (volume && volume.phase !== 'creating') return volume
  throw new KvasirError('volume-not-found', `There is no volume ${name}.`)
}

async function planVolume(
  wanted: { readonly name: string; readonly size?: number | undefined; readonly image?: string | undefined },
  context: Context,
): Promise<VolumeRecord> {
  const { store, clock } = context.ports
  if (store.volumes.findByName(wanted.name))
    throw new KvasirError('name-taken', `There is a volume ${wanted.name} already.`)
  const image = wanted.image === undefined ? undefined : await findImage(wanted.image, context.ports)
  const imageBytes = image?.disk?.virtualSizeBytes ?? 0
  const capacityBytes = wanted.size ?? imageBytes
  if (capacityBytes === 0 || (image && !image.disk))
    throw new KvasirError('bad-request', `Volume ${wanted.name} needs a size, or an image with a disk.`)
  if (capacityBytes < imageBytes)
    throw new KvasirError(
      'bad-request',
      `Volume ${wanted.name} would be smaller than its image, which does not fit.`,
    )
  return {
    id: clock.uuid(),
    name: wanted.name,
    pool: 'default',
    format: 'qcow2',
    capacityBytes,
    imageId: image?.id,
    baseId: undefined,
    phase: 'creating',
    frozen: false,
    madeForVm: undefined,
    createdAt: clock.now(),
  }
}

async function show(volume: VolumeRecord, context: Context): Promise<Volume> {
  const { store, files } = context.ports
  const allocatedBytes = await files.allocatedBytes(volume.id)
  const base = volume.baseId === undefined ? undefined : store.volumes.get(volume.baseId)
  return {
    name: volume.name,
    pool: volume.pool,
    format: volume.format,
    capacityBytes: volume.capacityBytes,
    ...(allocatedBytes === undefined ? {} : { allocatedBytes }),
    ...(volume.imageId === undefined ? {} : { image: volume.imageId }),
    ...(base ? { base: base.name } : {}),
    usedBy: vmsUsing(volume, store).map((vm) => vm.name),
    createdAt: volume.createdAt,
  }
}
