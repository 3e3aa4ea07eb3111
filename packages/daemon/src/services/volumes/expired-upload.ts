/** Which volumes are not whole and never will be. An upload may go on for a day after its last part; later nobody comes back for it. */
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** So long an upload is kept after its last part. */
export const uploadKeptMs = 24 * 3_600_000

/** Whether a volume of which a former daemon was making something, or removing it, is to be removed. */
export function isUnfinished({ phase, upload }: VolumeRecord, { ports }: Pick<Context, 'ports'>): boolean {
  if (phase === 'uploading') return upload?.expiresAt !== undefined && upload.expiresAt < ports.clock.now()
  return phase !== 'ready'
}
