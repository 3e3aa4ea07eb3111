/** Opens what an upload fills, to be written on: a volume through its format, or the row of bytes that is to be a qcow2 file. */
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { VolumeKey } from '../../ports/pools.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import { askPools } from './ask-pools.ts'
import { uploading } from './upload-refusal.ts'
import { sourceOf } from './volume-files.ts'
import { volumeWords } from './volume-words.ts'

/** Beside the contents, for the tables of a format. */
const spareBytes = 2 ** 30

/** By what the backend finds the bytes that are sent: a qcow2 file that is sent is a row of bytes until it is whole. */
export function sentKey({ id, file, format, encryption, upload }: VolumeRecord): VolumeKey {
  if (upload?.format !== 'qcow2')
    return {
      id,
      format,
      ...(file === undefined ? {} : { file }),
      ...(encryption === undefined ? {} : { encryption }),
    }
  return { id, format: 'raw', file: `${id}.qcow2` }
}

/** Opens it; nobody else may have the volume. What it cannot be opened for is told as a refusal of the upload. */
export async function openUpload(
  volume: VolumeRecord,
  signal: AbortSignal,
  { ports }: Context,
): Promise<{ readonly open: OpenVolume; readonly source: VolumeSource }> {
  const sent = { ...volume, ...sentKey(volume) }
  const source = sourceOf(sent, ports)
  const fileSizeBytes = 2 * Math.max(volume.capacityBytes, volume.upload?.sizeBytes ?? 0) + spareBytes
  const open = await uploading({ words: volumeWords(volume), source }, async () => {
    await askPools(sent, ports)
    return await ports.access.open([source], { access: 'write', fileSizeBytes, signal })
  })
  return { open, source }
}
