/** How a volume is named on the command line: `NAME` in the default pool, `POOL/NAME` in any. */
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'

const defaultPool = 'default'

/** A volume's place in the API. */
interface VolumeAddress {
  readonly pool: string
  readonly volume: string
}

/** Reads `NAME` or `POOL/NAME`. */
export function parseVolume(text: string): VolumeAddress {
  const parts = text.split('/')
  const [first = '', second] = parts
  if (parts.length > 2 || first === '' || second === '')
    throw new UsageError(`${JSON.stringify(text)} is not a volume.`, 'Write NAME, or POOL/NAME.')
  return second === undefined ? { pool: defaultPool, volume: first } : { pool: first, volume: second }
}

/** The volume that an argument names; `--pool` says the pool where the argument does not. */
export function volumeArgument(context: Context, name = 'VOLUME'): VolumeAddress {
  const text = context.argument(name)
  const address = parseVolume(text)
  const pool = context.value('pool')
  if (pool === undefined) return address
  if (text.includes('/') && pool !== address.pool)
    throw new UsageError(`${text} is not in pool ${pool}.`, 'Name the pool once.')
  return { ...address, pool }
}

/** A volume as it is named: without the default pool. */
export function volumeName({ pool, name }: { readonly pool: string; readonly name: string }): string {
  return pool === defaultPool ? name : `${pool}/${name}`
}
