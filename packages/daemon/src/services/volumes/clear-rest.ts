/**
 * Clears what of a volume lies behind the end of an upload to it: up to a whole sector of a new one, and whatever was there before of one
 * that is filled anew. Where that is encrypted it is written, which takes as long as it takes, so it belongs to the job that ends an upload.
 *
 * The row says from where on it is still to be done, and is written only behind what is on the disk: whoever comes after a death goes on
 * there.
 */
import { formatBytes } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { OpenVolume } from '../../ports/volume-access.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { clearPart } from './contents.ts'
import { openUpload } from './open-upload.ts'
import { uploading } from './upload-refusal.ts'
import { volumeWords } from './volume-words.ts'

/** What is cleared between two looks at whether the job is to go on. */
const stepBytes = 256 * 2 ** 20
/** After so long it is written down how far it came. */
const countEveryMs = 5_000

/** Clears the rest, if there is one. Nobody else may have the volume. */
export async function clearRest(volume: VolumeRecord, job: JobHandle, context: Context): Promise<void> {
  const from = volume.upload?.restFrom
  if (from === undefined) return
  const { open, source } = await openUpload(volume, job.signal, context)
  try {
    await uploading({ words: volumeWords(volume), source }, () =>
      clearFrom(open, from, { volume, job, context }),
    )
  } finally {
    await open.close()
  }
}

async function clearFrom(
  open: OpenVolume,
  from: number,
  {
    volume,
    job,
    context,
  }: { readonly volume: VolumeRecord; readonly job: JobHandle; readonly context: Context },
): Promise<void> {
  const { failpoint } = context.ports
  let countedAt = performance.now()
  for (let at = from; at < open.sizeBytes; ) {
    job.signal.throwIfAborted()
    const step = `clearing the ${formatBytes(open.sizeBytes - from)} behind its end`
    job.progress(step, (at - from) / (open.sizeBytes - from))
    const lengthBytes = Math.min(stepBytes, open.sizeBytes - at)
    await clearPart(open, { offset: at, lengthBytes })
    at += lengthBytes
    await failpoint('volume.upload.after-clear')
    if (at === open.sizeBytes || performance.now() - countedAt < countEveryMs) continue
    await open.flush()
    note(volume, at, context)
    countedAt = performance.now()
  }
  await open.flush()
  note(volume, undefined, context)
}

function note({ id }: VolumeRecord, restFrom: number | undefined, { ports }: Context): void {
  const now = ports.store.volumes.get(id)
  if (!now?.upload) return
  const { restFrom: _, ...upload } = now.upload
  ports.store.volumes.update({
    ...now,
    upload: restFrom === undefined ? upload : { ...upload, restFrom },
  })
}
