/**
 * Builds a Debian guest that boots from its disk, by BIOS and by UEFI: systemd, cloud-init, QEMU's guest agent, ssh.
 *
 * What it is built from is not known before mmdebstrap has asked the archive, so every build makes a new image.
 *
 * Not here: the root file system (debian-root.ts), the disk (debian-disk.ts).
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { debianDiskBytes, makeDebianDisk } from './debian-disk.ts'
import { makeDebianRoot } from './debian-root.ts'
import type { BuildOptions, BuiltImage, ResolvedRecipe } from './recipe.ts'
import { openScratch } from './work-dir.ts'

/** The releases that can be built. */
export const debianReleases = {
  'debian-12': { version: '12', suite: 'bookworm' },
  'debian-13': { version: '13', suite: 'trixie' },
} as const

/** One of the releases. */
export type DebianRelease = (typeof debianReleases)[keyof typeof debianReleases]

/** Gives the recipe; refuses on a host of another architecture. */
export async function resolveDebian(release: DebianRelease, options: BuildOptions): Promise<ResolvedRecipe> {
  if (process.arch !== 'x64') {
    const sentence = `This host is ${process.arch}; Debian ${release.version} is built on x86-64 only.`
    throw new KvasirError('unsupported', sentence)
  }
  return { source: undefined, build: (into) => build(release, { ...options, into: into.disk }) }
}

async function build(
  release: DebianRelease,
  options: BuildOptions & { readonly into: string },
): Promise<BuiltImage> {
  const { signal, onProgress, into } = options
  await using scratch = await openScratch(options.work, 'debian')
  const root = join(scratch.path, 'root')
  onProgress('installing packages into a new root', 0.05)
  await makeDebianRoot(root, { suite: release.suite, signal }).catch((cause: unknown) => {
    throw failure(`The root file system of Debian ${release.version} could not be made`, { signal, cause })
  })
  const kernel = (await readdir(join(root, 'boot'))).find((name) => name.startsWith('vmlinuz-'))

  onProgress('writing the disk', 0.7)
  await makeDebianDisk(root, { scratch: scratch.path, into, signal }).catch((cause: unknown) => {
    throw failure(`The disk of Debian ${release.version} could not be written`, { signal, cause })
  })
  return {
    os: 'debian',
    release: release.suite,
    version: release.version,
    architecture: 'x86_64',
    boot: 'disk',
    firmware: ['bios', 'uefi'],
    source: `recipe debian-${release.version} with ${kernel ?? 'no kernel'}`,
    virtualSizeBytes: debianDiskBytes,
  }
}

function failure(
  what: string,
  { signal, cause }: { readonly signal: AbortSignal; readonly cause: unknown },
): unknown {
  if (signal.aborted) return signal.reason
  return new KvasirError('host-failed', `${what}, so there is no image.`, { cause })
}
