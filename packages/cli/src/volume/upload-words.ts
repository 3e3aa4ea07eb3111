/** What the command line says of an upload, and what the beginning of what is sent says against it. */
import type { Volume } from '@kvasir/contract'
import { packedImageOf } from '@kvasir/contract/packed-image'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'

interface Asked {
  readonly as?: 'raw' | 'qcow2'
  readonly encrypt?: string
  readonly force?: true
}

/** What is asked of the volume. */
export function asked(context: Context): Asked {
  const as = context.choice('as', ['raw', 'qcow2'])
  const encrypt = context.value('encrypt')
  return {
    ...(as === undefined ? {} : { as }),
    ...(encrypt === undefined ? {} : { encrypt }),
    ...(context.has('force') ? { force: true } : {}),
  }
}

/** Most that one request sends: zeros take no time but where they are encrypted (LUKS around raw contents), and all is answered in time. */
export function mostPartBytes({ encryption, format }: Pick<Volume, 'encryption' | 'format'>): number {
  return encryption !== undefined && format === 'raw' ? 256 * 2 ** 20 : Number.POSITIVE_INFINITY
}

/** What is sent; where it looks like something else than contents, that has to be said. */
export function formatOf(
  context: Context,
  { beginning, end }: { readonly beginning: Uint8Array; readonly end?: Uint8Array },
  path: string,
): 'raw' | 'qcow2' {
  const said = context.choice('format', ['raw', 'qcow2'])
  if (said !== undefined) return said
  const found = packedImageOf(beginning, end)
  if (!found) return 'raw'
  const isQcow2 = found.what.includes('qcow2')
  throw new UsageError(
    `${path} looks like ${found.what}; ${adviceFor(found)}.`,
    `Write ${isQcow2 ? '--format qcow2, or ' : ''}--format raw for what a guest is to see byte by byte.`,
  )
}

function adviceFor({ what, advice }: { readonly what: string; readonly advice: string }): string {
  if (what.includes('qcow2')) return 'it can be uploaded as it is'
  return what.includes('LUKS') ? 'volume import --encrypt takes one that lies in a pool' : advice
}
