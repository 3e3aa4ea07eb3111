/**
 * Builds the tiny guest: Debian's cloud kernel and an initramfs of busybox, QEMU's guest agent and a few drivers, for direct
 * kernel boot. Nothing is installed on the host, and no step needs root, a loop device or a mount.
 *
 * The same packages and the same recipe give the same bytes.
 *
 * Not here: what the guest does once it runs (tiny-root/), where images are kept (image-files.ts).
 */
import { createHash } from 'node:crypto'
import { copyFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'
import { KvasirError } from '@kvasir/contract'
import { type CpioEntry, writeCpio } from '../../model/images/cpio.ts'
import type { PackageFile } from '../../model/images/debian-index.ts'
import {
  fetchPackages,
  type PackageSource,
  resolvePackageFiles,
  showPackages,
  unpackPackages,
  updatePackageLists,
  withLibraries,
} from './debian-packages.ts'
import type { BuildOptions, BuildPaths, BuiltImage, ResolvedRecipe } from './recipe.ts'
import { kernelModuleEntries } from './tiny-modules.ts'
import { programEntries } from './tiny-programs.ts'
import { openScratch } from './work-dir.ts'

const compress = promisify(zstdCompress)
// Level 19 saves 10 % of the size and costs 3 s.
const compressionLevel = 12
const kernelMetaPackage = 'linux-image-cloud-amd64'
const rootDirectory = join(import.meta.dirname, 'tiny-root')
// A triple fault resets every machine type; microvm, which has no keyboard controller, knows no other way (QEMU, docs/system/i386/microvm.rst).
// Without the self-tests of ciphers and without moving the kernel about, an emulated processor boots in three quarters of the time.
// The kernel counts ticks to find out whether the timer is broken, and panics; a sound one seems so where an emulated processor waits for one of the host's.
const cmdline = 'console=ttyS0 quiet reboot=t cryptomgr.notests nokaslr no_timer_check'

/** Finds out which packages the tiny guest would be built from now; `source` names the recipe and all of them in one digest. */
export async function resolveTiny(options: BuildOptions): Promise<ResolvedRecipe> {
  if (process.arch !== 'x64') {
    const sentence = `This host is ${process.arch}; the tiny image is built on x86-64 only.`
    throw new KvasirError('unsupported', sentence)
  }
  options.onProgress('looking up packages', 0)
  const packages = await resolveFiles(options).catch(async (error: unknown) => {
    options.signal.throwIfAborted()
    return resolveAfresh(options, error)
  })
  const ingredients = { packages, overlay: await overlayEntries() }
  return { source: sourceOf(ingredients), build: (into) => build(ingredients, { ...options, into }) }
}

interface Ingredients {
  readonly packages: readonly PackageFile[]
  readonly overlay: readonly CpioEntry[]
}

/** The lists may be missing, or older than the archive, which keeps no old versions. */
async function resolveAfresh(options: BuildOptions, problem: unknown): Promise<readonly PackageFile[]> {
  options.onProgress('renewing the package lists', 0.05)
  await updatePackageLists(options).catch(() => Promise.reject(problem))
  return resolveFiles(options)
}

async function resolveFiles(source: PackageSource): Promise<readonly PackageFile[]> {
  const [meta] = await showPackages([kernelMetaPackage], source)
  const kernel = meta?.depends.find((name) => name.startsWith('linux-image-'))
  if (kernel === undefined) {
    throw new KvasirError('host-failed', `apt does not know ${kernelMetaPackage}, so no image can be built.`)
  }
  const names = [kernel, 'busybox-static', ...(await withLibraries('qemu-guest-agent', source))]
  return resolvePackageFiles(names, source)
}

function sourceOf({ packages, overlay }: Ingredients): string {
  const hash = createHash('sha256')
  hash.update(JSON.stringify([cmdline, packages.map((file) => file.sha256).toSorted()]))
  hash.update(writeCpio(overlay))
  return `recipe tiny ${hash.digest('hex')}`
}

async function build(
  ingredients: Ingredients,
  options: BuildOptions & { readonly into: BuildPaths },
): Promise<BuiltImage> {
  const { signal, onProgress, into } = options
  await using scratch = await openScratch(options.work, 'tiny')
  const root = scratch.path
  onProgress('downloading packages', 0.1)
  const used = await fetchOrResolveAgain(ingredients, options)
  onProgress('unpacking packages', 0.4)
  await unpackPackages(used.paths, { directory: root, signal })

  onProgress('collecting files', 0.7)
  const release = await kernelRelease(root)
  const entries = [
    ...(await programEntries(root, signal)),
    ...(await kernelModuleEntries({ root, release }, signal)),
    ...ingredients.overlay,
  ]
  onProgress('compressing the initramfs', 0.8)
  const initrd = await compress(writeCpio(sorted(entries)), {
    params: { [constants.ZSTD_c_compressionLevel]: compressionLevel },
  })
  signal.throwIfAborted()
  await copyFile(join(root, 'boot', `vmlinuz-${release}`), into.kernel)
  await writeFile(into.initrd, initrd)
  return {
    os: 'linux',
    release: 'tiny',
    version: release,
    architecture: 'x86_64',
    boot: 'kernel',
    firmware: ['bios'],
    cmdline,
    source: sourceOf({ ...ingredients, packages: used.packages }),
  }
}

async function fetchOrResolveAgain(
  { packages }: Ingredients,
  options: BuildOptions,
): Promise<{ readonly packages: readonly PackageFile[]; readonly paths: readonly string[] }> {
  try {
    return { packages, paths: await fetchPackages(packages, options) }
  } catch (error) {
    options.signal.throwIfAborted()
    const fresh = await resolveAfresh(options, error)
    return { packages: fresh, paths: await fetchPackages(fresh, options) }
  }
}

async function kernelRelease(root: string): Promise<string> {
  const kernels = (await readdir(join(root, 'boot'))).filter((name) => name.startsWith('vmlinuz-'))
  const [only] = kernels
  if (only === undefined || kernels.length > 1) {
    throw new KvasirError(
      'host-failed',
      `The kernel package holds ${kernels.length} kernels, so none can be chosen.`,
    )
  }
  return only.slice('vmlinuz-'.length)
}

function sorted(entries: readonly CpioEntry[]): readonly CpioEntry[] {
  return entries.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
}

/** The guest's own scripts and settings, the directories it mounts on, and the console it needs before /dev is mounted. */
async function overlayEntries(): Promise<readonly CpioEntry[]> {
  const found = await readdir(rootDirectory, { recursive: true, withFileTypes: true })
  const files = found
    .filter((entry) => entry.isFile())
    .map(async (entry): Promise<CpioEntry> => {
      const path = join(entry.parentPath, entry.name)
      const content = await readFile(path)
      const mode = content.subarray(0, 2).toString() === '#!' ? 0o755 : 0o644
      return { kind: 'file', path: path.slice(rootDirectory.length + 1), mode, content }
    })
  return sorted([
    ...['proc', 'sys', 'dev', 'run', 'tmp', 'root', 'mnt', 'var'].map(
      (path): CpioEntry => ({ kind: 'directory', path, mode: 0o755 }),
    ),
    { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'character-device', path: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    ...(await Promise.all(files)),
  ])
}
