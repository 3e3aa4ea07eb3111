/** Which format a volume of a pool gets. */
import { KvasirError, type VolumeFormat } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import { usablePool } from '../pools/usable-pool.ts'

/**
 * The format that was asked for, else the one that is liked where the pool has it, else the pool's first. `unsupported` for one that the
 * pool does not have.
 */
export function formatIn(
  pool: string,
  { asked, liked }: { readonly asked?: VolumeFormat | undefined; readonly liked?: VolumeFormat },
  ports: Ports,
): VolumeFormat {
  const { formats } = usablePool(pool, ports).capabilities
  if (asked !== undefined && !formats.includes(asked))
    throw new KvasirError(
      'unsupported',
      `Pool ${pool} has no volumes of format ${asked}, only ${formats.join(' and ')}.`,
    )
  if (asked !== undefined) return asked
  if (liked !== undefined && formats.includes(liked)) return liked
  return formats[0] ?? 'qcow2'
}
