/** Makes a volume: a row that says `creating`, what it stands for, then `ready`. */
import type { NewVolume, Volume } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { requireDiskSize } from '../../model/storage/disk-size.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { findImage, requireNotGone } from '../images/find-image.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { encryptionOf, requireStillKept } from './encryption.ts'
import { requireFreeName } from './require-free-name.ts'
import { showVolume } from './show-volume.ts'
import { discardVolume, makeVolumeFile } from './volume-files.ts'
import { formatIn } from './volume-format.ts'
import { volumeWords } from './volume-words.ts'

/** docs/interop/qcow2.txt of QEMU: cluster_bits from 9 to 21. */
const clusters = { least: 2 ** 9, most: 2 ** 21 } as const

/** Makes a volume in a pool. `name-taken`, `bad-request` for a size that no disk has. */
export async function createVolume(
  pool: string,
  wanted: NewVolume,
  { context, keep }: { readonly context: Context; readonly keep: (answer: Volume) => void },
): Promise<Volume> {
  const { ports } = context
  const { store, failpoint } = ports
  const row = await planVolume(pool, wanted, context)
  await failpoint('volume.create.before-row')
  store.transaction(() => {
    requireNotGone([row.imageId], context)
    usablePool(pool, ports)
    requireStillKept(row, ports)
    store.volumes.insert(row)
  })
  await using undo = new AsyncDisposableStack()
  undo.defer(() => discardVolume(row, ports))
  await failpoint('volume.create.after-row')
  const made = await makeVolumeFile(row, ports, {
    preallocation: wanted.preallocation,
    clusterBytes: wanted.clusterSize,
    lazyRefcounts: wanted.lazyRefcounts,
  })
  await failpoint('volume.create.after-file')
  const ready = { ...made, phase: 'ready' as const }
  const answer = await showVolume(ready, context)
  store.transaction(() => {
    store.volumes.update(ready)
    context.emit('volume.created', volumeWords(row), { id: row.id })
    keep(answer)
  })
  undo.move()
  await failpoint('volume.create.after-ready')
  return answer
}

async function planVolume(pool: string, wanted: NewVolume, context: Context): Promise<VolumeRecord> {
  const { ports } = context
  const words = volumeWords({ pool, name: wanted.name })
  requireFreeName({ pool, name: wanted.name }, ports)
  const format = formatIn(pool, { asked: wanted.format }, ports)
  requireSoundOptions(words, { ...wanted, format })
  const encryption = encryptionOf({ pool, format, secret: wanted.encrypt }, ports)
  const image = wanted.image === undefined ? undefined : await findImage(wanted.image, ports)
  const imageBytes = image?.disk?.virtualSizeBytes ?? 0
  const capacityBytes = wanted.size ?? imageBytes
  if (image && !image.disk)
    throw new KvasirError(
      'bad-request',
      `Image ${image.name} has no disk that volume ${words} could begin as.`,
    )
  requireDiskSize(`Volume ${words}`, capacityBytes)
  if (capacityBytes < imageBytes)
    throw new KvasirError(
      'bad-request',
      `Volume ${words} would be smaller than its image, which does not fit.`,
    )
  return {
    id: ports.clock.uuid(),
    name: wanted.name,
    pool,
    format,
    ...(encryption === undefined ? {} : { encryption }),
    capacityBytes,
    imageId: image?.id,
    baseId: undefined,
    phase: 'creating',
    frozen: false,
    madeForVm: undefined,
    createdAt: ports.clock.now(),
  }
}

/** Options that cannot hold together are refused before anything is made. */
function requireSoundOptions(words: string, wanted: NewVolume): void {
  const refuse = (why: string) =>
    new KvasirError('bad-request', `Volume ${words} ${why}, so it was not made.`)
  const { clusterSize, format, image, lazyRefcounts, preallocation } = wanted
  if (format === 'raw' && (clusterSize !== undefined || lazyRefcounts))
    throw refuse('is raw, which has neither clusters nor reference counts')
  if (format === 'raw' && preallocation === 'metadata')
    throw refuse('is raw, which has no metadata to make beforehand')
  if (image !== undefined && preallocation !== 'none')
    throw refuse('begins as an image, so its space is taken as it differs from it or is that of a copy')
  if (clusterSize === undefined) return
  const isPower = Number.isInteger(Math.log2(clusterSize))
  if (!isPower || clusterSize < clusters.least || clusterSize > clusters.most)
    throw refuse('has a cluster size that is no power of two from 512 bytes to 2 MiB')
}
