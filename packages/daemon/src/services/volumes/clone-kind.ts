/** Whether a clone of a volume is linked: where its pool has linked clones, and one can be what was asked for. */
import { KvasirError, type VolumeFormat } from '@kvasir/contract'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { usablePool } from '../pools/usable-pool.ts'

interface Wanted {
  readonly pool: string
  readonly mode?: 'linked' | 'full' | undefined
  readonly format?: VolumeFormat | undefined
  readonly compress?: boolean | undefined
}

/** What a clone is made as, and the format that it has unless another was asked for. Refuses a linked one that cannot be. */
export function cloneKind(
  volume: VolumeRecord,
  wanted: Wanted,
  { ports }: Context,
): { readonly linked: boolean; readonly liked: VolumeFormat } {
  const { linkedClones, independentClones } = usablePool(volume.pool, ports).capabilities
  const format = independentClones ? volume.format : 'qcow2'
  const fits = wanted.pool === volume.pool && (wanted.format ?? format) === format
  const canLink = linkedClones && fits && !wanted.compress
  if (wanted.mode === 'full' || (wanted.mode === undefined && !canLink))
    return { linked: false, liked: volume.format }
  if (!linkedClones) throw new KvasirError('unsupported', `Pool ${volume.pool} has no linked clones.`)
  if (!fits)
    throw new KvasirError(
      'bad-request',
      `A linked clone is a ${format} volume beside the one that it is linked to; another pool or format takes a full clone.`,
    )
  return { linked: true, liked: format }
}
