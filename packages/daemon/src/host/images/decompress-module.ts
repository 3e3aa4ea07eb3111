/** Reads a kernel module whichever way its package compressed it: Debian 12 not at all, Debian 13 with xz. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'

const maximumModuleBytes = 64 * 1024 * 1024
const decompressTimeoutMs = 30_000

/** Gives the bytes of the module itself; xz is undone by the busybox that was unpacked below `root`. */
export async function decompressModule(
  path: string,
  tools: { readonly root: string; readonly signal: AbortSignal },
): Promise<Uint8Array> {
  if (path.endsWith('.xz')) return unxz(path, tools)
  const bytes = await readFile(path)
  if (path.endsWith('.gz')) return promisify(gunzip)(bytes)
  if (path.endsWith('.zst')) return promisify(zstdDecompress)(bytes)
  return bytes
}

async function unxz(
  path: string,
  tools: { readonly root: string; readonly signal: AbortSignal },
): Promise<Uint8Array> {
  const { stdout } = await promisify(execFile)(join(tools.root, 'bin/busybox'), ['xzcat', path], {
    encoding: 'buffer',
    maxBuffer: maximumModuleBytes,
    timeout: decompressTimeoutMs,
    signal: tools.signal,
  })
  return stdout
}
