/** The first bytes of files of an export, all over one connection. */
import { NfsError, type NfsSession } from './nfs-session.ts'

/** Reads those of as many files as it has time for; a file that the server gives nobody, or that is none, is left out. */
export async function readBeginnings(
  session: NfsSession,
  files: readonly string[],
  { lengthBytes, withinMs }: { readonly lengthBytes: number; readonly withinMs: number },
): Promise<ReadonlyMap<string, Uint8Array>> {
  const beginnings = new Map<string, Uint8Array>()
  const isOverAt = performance.now() + withinMs
  for (const file of files) {
    if (performance.now() >= isOverAt) break
    try {
      const bytes = await session.read(file, lengthBytes)
      if (bytes !== undefined) beginnings.set(file, bytes.subarray(0, lengthBytes))
    } catch (error) {
      if (!(error instanceof NfsError)) throw error
    }
  }
  return beginnings
}
