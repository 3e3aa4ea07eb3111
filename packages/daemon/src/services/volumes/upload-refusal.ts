/**
 * Refusals of what is uploaded, in the words of who uploads it: the volume by its name. Where its bytes lie while they come is the
 * daemon's own affair, and stays in the cause.
 */
import { KvasirError } from '@kvasir/contract'
import { pathSource, type VolumeSource } from '../../model/storage/volume-source.ts'

/** What is uploaded, and where its bytes lie. */
export interface Uploaded {
  /** The volume as it is called. */
  readonly words: string
  readonly source: VolumeSource
}

/** The refusal of the whole of an upload. */
export function notTaken(words: string, why: string, cause?: unknown): KvasirError {
  return new KvasirError(
    'image-refused',
    `What was uploaded to volume ${words} ${why}, so it does not become a volume.`,
    { cause },
  )
}

/** A refusal as one that names the volume and no path; what is none of ours, and what names no path, as it is. */
export function asUploadRefusal(error: unknown, { words, source }: Uploaded): unknown {
  if (!(error instanceof KvasirError)) return error
  const { path: _, why, ...details } = error.details
  if (error.code === 'image-refused' && typeof why === 'string') return notTaken(words, why, error)
  const path = source.kind === 'protocol' ? '' : pathSource(source).path
  if (path === '' || !error.message.includes(path)) return error
  const message = error.message.replaceAll(`The file ${path}`, `The file of volume ${words}`)
  return new KvasirError(error.code, message.replaceAll(path, `volume ${words}`), { details, cause: error })
}

/** Does what an upload takes, and refuses in its words. */
export async function uploading<T>(uploaded: Uploaded, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw asUploadRefusal(error, uploaded)
  }
}
