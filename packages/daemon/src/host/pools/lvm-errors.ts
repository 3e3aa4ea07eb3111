/** What a command of LVM that failed means. */
import { KvasirError } from '@kvasir/contract'
import { CommandError } from '@kvasir/linux'

/** What LVM said of something that it did not do; undefined where it said nothing. */
export function refusalIn(error: unknown): string | undefined {
  if (!(error instanceof CommandError)) return undefined
  const lines = error.stderr.split('\n').map((line) => line.trim())
  const said = lines.filter((line) => line !== '' && !line.startsWith('WARNING'))
  return said.slice(-2).join(' ').slice(0, 300)
}

/** The refusal of what a thin pool has no room for. */
export function noRoom(
  { sentence, freeBytes }: { readonly sentence: string; readonly freeBytes: number },
  neededBytes: number,
): KvasirError {
  return new KvasirError('not-enough-space', sentence, { details: { freeBytes, neededBytes } })
}

/** The refusal to preallocate a thin volume. */
export function noneBeforehand(place: string): KvasirError {
  return new KvasirError(
    'unsupported',
    `Thin pool ${place} gives its volumes space as they are written, and none beforehand.`,
  )
}

/** Does what takes space. `not-enough-space`, or `host-failed` with what LVM said. */
export async function spending(place: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (cause) {
    if (!(cause instanceof CommandError) || cause.failure !== 'exit') throw cause
    const said = refusalIn(cause) ?? ''
    // lib/metadata of LVM: allocation errors name extents or space; a thin pool above its threshold takes nothing new.
    if (/insufficient|not enough free|above threshold/i.test(said))
      throw new KvasirError('not-enough-space', `${place} has too little room left: ${said}`, { cause })
    throw new KvasirError('host-failed', `LVM did not do its part in ${place}: ${said}`, { cause })
  }
}
