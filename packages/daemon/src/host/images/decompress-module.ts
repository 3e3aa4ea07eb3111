/** Reads a kernel module whichever way its package compressed it: Debian 12 not at all, Debian 13 with xz. */
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import { runStep } from './run-step.ts'

const decompressTimeoutMs = 30_000

/** Gives the bytes of the module itself; xz is undone beside the file by the given busybox. */
export async function decompressModule(
  path: string,
  tools: { readonly busybox: string; readonly cwd: string; readonly signal: AbortSignal },
): Promise<Uint8Array> {
  if (path.endsWith('.xz')) {
    await runStep([tools.busybox, 'unxz', '-k', '-f', path], { ...tools, timeoutMs: decompressTimeoutMs })
    return readFile(path.slice(0, -'.xz'.length))
  }
  const bytes = await readFile(path)
  if (path.endsWith('.gz')) return promisify(gunzip)(bytes)
  if (path.endsWith('.zst')) return promisify(zstdDecompress)(bytes)
  return bytes
}
