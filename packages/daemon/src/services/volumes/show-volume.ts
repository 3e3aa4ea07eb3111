/** A volume as the API shows it. A pool that does not answer leaves out only what it alone knows. */
import type { Volume } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord, VolumeUpload } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { placeName } from '../pools/usable-pool.ts'
import { sourceOf } from './volume-files.ts'
import { originOf, type VolumeUses, volumeUses } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'

/** The API's view of a volume; `uses` where many are shown at once. */
export async function showVolume(
  volume: VolumeRecord,
  context: Context,
  uses: VolumeUses = volumeUses(context.ports.store),
): Promise<Volume> {
  const { ports } = context
  const { store } = ports
  const allocatedBytes = await allocatedBytesOf(volume, ports)
  const base = originOf(volume, store)
  const { clonedFromId } = volume
  const twin = clonedFromId === undefined ? undefined : store.volumes.get(clonedFromId)
  const source = store.pools.findByName(placeName(volume)) && sourceOf(volume, ports)
  const overlays = uses.overlaysOf(volume)
  const snapshots = uses.snapshotsOn(volume)
  const chain = ancestorsOf(volume, ports)
  const encryption = shownEncryption(volume, store)
  return {
    name: volume.name,
    pool: volume.pool,
    ...(volume.liesIn === undefined ? {} : { liesIn: volume.liesIn }),
    format: volume.format,
    capacityBytes: volume.capacityBytes,
    ...(allocatedBytes === undefined ? {} : { allocatedBytes }),
    ...(source === undefined || source.kind === 'protocol' ? {} : { path: source.path }),
    ...(volume.imageId === undefined ? {} : { image: volume.imageId }),
    ...(base?.pool === volume.pool ? { base: base.name } : {}),
    ...(twin?.pool === volume.pool ? { clonedFrom: twin.name } : {}),
    ...(chain.length > 0 ? { chain } : {}),
    ...(volume.frozen ? { frozen: true } : {}),
    ...(encryption === undefined ? {} : { encryption }),
    ...(volume.phase === 'uploading' && volume.upload ? { upload: shownUpload(volume.upload) } : {}),
    usedBy: uses.vmsWith(volume),
    ...(overlays.length > 0 ? { overlays: overlays.map(volumeWords) } : {}),
    ...(snapshots.length > 0 ? { snapshots: [...snapshots] } : {}),
    createdAt: volume.createdAt,
  }
}

function shownEncryption({ encryption }: VolumeRecord, store: Ports['store']): Volume['encryption'] {
  const secret = encryption && store.secrets.get(encryption.secretId)
  return secret && { secret: secret.name }
}

function shownUpload(upload: VolumeUpload): NonNullable<Volume['upload']> {
  const { format, sizeBytes, offsetBytes, expiresAt } = upload
  return { format, sizeBytes, offsetBytes, ...(expiresAt === undefined ? {} : { expiresAt }) }
}

/** What a volume occupies; undefined where its pool does not say. */
export async function allocatedBytesOf(volume: VolumeRecord, ports: Ports): Promise<number | undefined> {
  const pool = ports.store.pools.findByName(placeName(volume))
  if (!pool?.started) return undefined
  try {
    return await ports.pools.of(pool).allocatedBytes(volume)
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'pool-unreachable') return undefined
    throw error
  }
}

/** What a volume is an overlay of, the nearest first. */
function ancestorsOf(volume: VolumeRecord, { store }: Ports): NonNullable<Volume['chain']> {
  const chain: NonNullable<Volume['chain']> = []
  const seen = new Set<string>()
  let at: VolumeRecord | undefined = volume
  while (at && !seen.has(at.id)) {
    seen.add(at.id)
    if (at !== volume) chain.push({ kind: 'volume', name: at.name, pool: at.pool, format: at.format })
    if (at.imageId !== undefined) chain.push({ kind: 'image', name: at.imageId, format: 'qcow2' })
    at = originOf(at, store)
  }
  return chain
}
