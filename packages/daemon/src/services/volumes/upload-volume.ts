/**
 * Uploads: a volume that is made part by part by whoever sends it. Its row says how much of it is on the disk, so an upload goes on where
 * it was broken off, by whatever; until it was looked at as a whole nobody is given it.
 *
 * What is sent is either what a guest is to see, written through the volume's format, or a qcow2 file, which becomes the volume as it is.
 * Not here: taking the parts (receive-upload.ts).
 */
import type { Job, NewUpload, Volume } from '@kvasir/contract'
import { formatBytes, KvasirError } from '@kvasir/contract'
import type { VolumeRecord, VolumeUpload } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Caller } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePlace, usablePool } from '../pools/usable-pool.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { clearRest } from './clear-rest.ts'
import { encryptionOf, requireStillKept } from './encryption.ts'
import { isUnfinished, uploadKeptMs } from './expired-upload.ts'
import { requireNoWork, requireWhole } from './hold-volume.ts'
import { sentKey } from './open-upload.ts'
import { showVolume } from './show-volume.ts'
import { hasSecretAsked, requireSound, type VolumePlace } from './sound-upload.ts'
import { notTaken, uploading } from './upload-refusal.ts'
import { discardVolume, sourceOf } from './volume-files.ts'
import { holderOf } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'

const sectorBytes = 512
const finishDeadlineMs = 24 * 3_600_000

/** Makes the volume that an upload fills, or answers the one that it fills already. */
export async function beginUpload(place: VolumePlace, wanted: NewUpload, context: Context): Promise<Volume> {
  await removeExpired(context)
  const { store } = context.ports
  const known = store.volumes.find(place.pool, place.name)
  if (known?.phase === 'uploading') return await goOn(known, wanted, context)
  if (known) return await fillAnew(known, wanted, context)
  return await makeNew(place, wanted, context)
}

/** Begins to look at what was uploaded as a whole, after which it is a volume like any other. */
export function beginFinishUpload(
  volume: VolumeRecord,
  { context, caller }: { readonly context: Context; readonly caller: Caller },
): Job {
  requireNoWork(volume)
  const upload = requireUpload(volume)
  if (upload.offsetBytes < upload.sizeBytes)
    throw new KvasirError(
      'wrong-state',
      `Of volume ${volumeWords(volume)} ${upload.offsetBytes} of ${upload.sizeBytes} bytes were uploaded, so it is not finished.`,
      { details: { offsetBytes: upload.offsetBytes, sizeBytes: upload.sizeBytes } },
    )
  return context.jobs.run(
    {
      kind: 'volume.upload',
      subject: { kind: 'volume', name: volume.name, id: volume.id },
      owner: caller.name,
      deadlineMs: finishDeadlineMs,
    },
    async (job) => {
      await finish(volume, job, context).catch(async (error: unknown) => {
        if (error instanceof KvasirError && error.code === 'image-refused') await giveUp(volume, context)
        throw error
      })
      return volume.name
    },
  )
}

/** What a volume is uploaded as. `wrong-state` for one that is not. */
export function requireUpload(volume: VolumeRecord): VolumeUpload {
  if (volume.phase === 'uploading' && volume.upload) return volume.upload
  throw new KvasirError('wrong-state', `Volume ${volumeWords(volume)} is not being uploaded.`)
}

async function goOn(volume: VolumeRecord, wanted: NewUpload, context: Context): Promise<Volume> {
  const { format, sizeBytes, fingerprint } = requireUpload(volume)
  const isSame =
    format === wanted.format &&
    sizeBytes === wanted.size &&
    fingerprint === wanted.fingerprint &&
    (wanted.as === undefined || wanted.as === volume.format) && // What is filled anew keeps its own.
    hasSecretAsked(volume, wanted, context)
  if (isSame) return await showVolume(volume, context)
  if (wanted.force && format === 'raw') return await fillAnew(volume, wanted, context)
  throw new KvasirError(
    'name-taken',
    `Volume ${volumeWords(volume)} is being uploaded from something else (${formatBytes(sizeBytes)}, ${format}); force begins it anew, and so does deleting it.`,
  )
}

/**
 * The old contents go as the new ones come; what neither covers is zeros. So does what came of an upload that does not go on, such as that
 * of a pipe which broke off.
 */
async function fillAnew(volume: VolumeRecord, wanted: NewUpload, context: Context): Promise<Volume> {
  const { ports } = context
  const words = volumeWords(volume)
  if (!wanted.force) throw new KvasirError('name-taken', `There is a volume ${words} already.`)
  usablePlace(volume, ports)
  if (wanted.format !== 'raw' || (wanted.as ?? volume.format) !== volume.format)
    throw new KvasirError(
      'bad-request',
      `Volume ${words} is there and keeps its format, so only contents (raw) can be uploaded to it.`,
    )
  if (!hasSecretAsked(volume, wanted, context))
    throw new KvasirError(
      'bad-request',
      `Volume ${words} is there and ${volume.encryption ? 'keeps its secret' : 'not encrypted'}, so it is not uploaded to with secret ${wanted.encrypt}.`,
    )
  if (wanted.size > volume.capacityBytes)
    throw new KvasirError(
      'bad-request',
      `Volume ${words} has ${formatBytes(volume.capacityBytes)}, into which ${formatBytes(wanted.size)} do not go.`,
    )
  const begun = ports.store.transaction(() => {
    const now = ports.store.volumes.get(volume.id) ?? volume
    if (now.phase === 'uploading') requireNoWork(now)
    else requireWhole(now)
    const holder = holderOf(now, ports.store)
    if (holder)
      throw new KvasirError('in-use', `Volume ${words} is in use by ${holder}, so nothing is uploaded to it.`)
    const kept = now.upload?.expiresAt === undefined ? {} : { expiresAt: expiry(context) }
    const row: VolumeRecord = { ...now, phase: 'uploading', upload: { ...newUploadState(wanted), ...kept } }
    ports.store.volumes.update(row)
    return row
  })
  return await showVolume(begun, context)
}

async function makeNew(place: VolumePlace, wanted: NewUpload, context: Context): Promise<Volume> {
  const { ports } = context
  const { failpoint, store } = ports
  const backend = usablePool(place.pool, ports)
  const format = wanted.as ?? wanted.format
  requireSound(place, { wanted, format, backend })
  const encryption = encryptionOf({ pool: place.pool, format, secret: wanted.encrypt }, ports)
  const expiresAt = expiry(context)
  const row: VolumeRecord = {
    id: ports.clock.uuid(),
    ...place,
    format,
    ...(encryption === undefined ? {} : { encryption }),
    capacityBytes: Math.ceil(wanted.size / sectorBytes) * sectorBytes,
    imageId: undefined,
    baseId: undefined,
    phase: 'creating',
    upload: { ...newUploadState(wanted), expiresAt },
    frozen: false,
    madeForVm: undefined,
    createdAt: ports.clock.now(),
  }
  await failpoint('volume.upload.before-row')
  store.transaction(() => {
    usablePool(place.pool, ports)
    requireStillKept(row, ports)
    store.volumes.insert(row)
  })
  await using undo = new AsyncDisposableStack()
  undo.defer(() => discardVolume(row, ports))
  await failpoint('volume.upload.after-row')
  const uploaded = { words: volumeWords(row), source: backend.source(sentKey(row)) }
  await uploading(uploaded, () => backend.createEmpty(sentKey(row), { capacityBytes: row.capacityBytes }))
  await failpoint('volume.upload.after-file')
  const begun: VolumeRecord = { ...row, phase: 'uploading' }
  const answer = await showVolume(begun, context)
  store.volumes.update(begun)
  undo.move()
  await failpoint('volume.upload.after-begin')
  return answer
}

async function finish(volume: VolumeRecord, job: JobHandle, context: Context): Promise<void> {
  const { ports } = context
  const { failpoint, store } = ports
  const held = store.transaction(() => {
    const now = store.volumes.get(volume.id) ?? volume
    requireNoWork(now)
    const row: VolumeRecord = { ...now, work: 'uploaded' }
    store.volumes.update(row)
    return row
  })
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => {
    const { work: _, ...rest } = store.volumes.get(volume.id) ?? held
    store.volumes.update(rest)
  })
  await clearRest(held, job, context)
  const { upload, work: _, ...rest } = held
  const capacityBytes = upload?.format === 'qcow2' ? await inspect(held, job, context) : held.capacityBytes
  await failpoint('volume.upload.before-ready')
  job.conclude(volume.name, () => {
    store.volumes.update({ ...rest, capacityBytes, phase: 'ready' })
    context.emit('volume.created', volumeWords(volume), { id: volume.id })
  })
  undo.move()
  await failpoint('volume.upload.after-ready')
}

/** A qcow2 file that was sent: it names no other file and its tables are whole. Answers its capacity. */
async function inspect(volume: VolumeRecord, job: JobHandle, context: Context): Promise<number> {
  const { ports } = context
  const words = volumeWords(volume)
  job.progress('looking at what was uploaded')
  const backend = usablePlace(volume, ports)
  const file = `${volume.id}.qcow2`
  const source = sourceOf(volume, ports)
  const { capacityBytes, found } = await uploading({ words, source }, async () => ({
    ...(await backend.adopt({ id: volume.id, format: 'qcow2', file })),
    found: await ports.access
      .check(source, { repair: false, fileSizeBytes: 0, signal: job.signal })
      .catch((error: unknown) => {
        if (error instanceof KvasirError && (error.code === 'volume-damaged' || error.code === 'host-failed'))
          throw notTaken(words, 'cannot be opened as qcow2', error)
        throw error
      }),
  }))
  job.found(found)
  if (found.corruptions > 0 || found.errors > 0) throw notTaken(words, 'is damaged')
  return capacityBytes
}

function newUploadState({ format, size, fingerprint }: NewUpload): VolumeUpload {
  return { format, sizeBytes: size, offsetBytes: 0, ...(fingerprint === undefined ? {} : { fingerprint }) }
}

/** When an upload is given up unless it goes on. */
export function expiry({ ports }: Pick<Context, 'ports'>): string {
  return new Date(Date.parse(ports.clock.now()) + uploadKeptMs).toISOString()
}

/** Nobody came back for these. */
async function removeExpired(context: Context): Promise<void> {
  const { store } = context.ports
  for (const volume of store.volumes.list()) {
    if (volume.phase !== 'uploading' || volume.work !== undefined || !isUnfinished(volume, context)) continue
    await giveUp(volume, context)
  }
}

/** Removes what will not become a volume; if its pool does not let that be, the next start of the daemon does. */
async function giveUp(volume: VolumeRecord, context: Context): Promise<void> {
  const { store, log } = context.ports
  const now = store.volumes.get(volume.id)
  if (now?.phase !== 'uploading' || now.work !== undefined) return
  const deleting: VolumeRecord = { ...now, phase: 'deleting' }
  store.volumes.update(deleting)
  await removeVolume(deleting, context).catch((error: unknown) =>
    log.error({ volume: volume.name, err: error }, 'an upload that was given up could not be removed'),
  )
}
