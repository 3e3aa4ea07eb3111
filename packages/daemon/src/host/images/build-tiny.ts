/**
 * Builds the tiny guest: Debian's cloud kernel and an initramfs of busybox, QEMU's guest agent and a few drivers, for direct
 * kernel boot. Nothing is installed on the host, and no step needs root, a loop device or a mount.
 *
 * The same packages and the same recipe give the same bytes.
 *
 * Not here: what the guest does once it runs (tiny-root/), where images are kept (image-files.ts).
 */
import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
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
import type { BuildOptions, BuiltImage, ResolvedRecipe } from './recipe.ts'
import { kernelModuleEntries } from './tiny-modules.ts'
import { programEntries } from './tiny-programs.ts'

const compress = promisify(zstdCompress)
const kernelMetaPackage = 'linux-image-cloud-amd64'
const rootDirectory = join(import.meta.dirname, 'tiny-root')
const cmdline = 'console=ttyS0 quiet'

/** Finds out which packages the tiny guest would be built from now; `source` names the recipe and all of them in one digest. */
export async function resolveTiny(options: BuildOptions): Promise<ResolvedRecipe> {
  if (process.arch !== 'x64') {
    throw new KvasirError(
      'unsupported',
      `This host is ${process.arch}; the tiny image is built on x86-64 only.`,
    )
  }
  await mkdir(options.cacheDir, { recursive: true, mode: 0o700 })
  options.onProgress({ step: 'looking up packages', fraction: 0 })
  const files = await resolveFiles(options).catch(async (error: unknown) => {
    options.signal.throwIfAborted()
    options.onProgress({ step: 'renewing the package lists', fraction: 0.05 })
    await updatePackageLists(options).catch(() => Promise.reject(error))
    return resolveFiles(options)
  })
  const overlay = await overlayEntries()
  return {
    source: `recipe tiny ${recipeDigest(files, overlay)}`,
    build: (into) => build({ into, files, overlay }, options),
  }
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

function recipeDigest(files: readonly PackageFile[], overlay: readonly CpioEntry[]): string {
  const hash = createHash('sha256')
  hash.update(JSON.stringify([cmdline, files.map((file) => file.sha256).toSorted()]))
  hash.update(writeCpio(overlay))
  return hash.digest('hex')
}

interface TinyInput {
  readonly into: string
  readonly files: readonly PackageFile[]
  readonly overlay: readonly CpioEntry[]
}

async function build(input: TinyInput, options: BuildOptions): Promise<BuiltImage> {
  const { signal, onProgress } = options
  const work = await mkdtemp(join(options.cacheDir, 'tiny-'))
  try {
    onProgress({ step: 'downloading packages', fraction: 0.1 })
    const packages = await fetchPackages(input.files, options)
    onProgress({ step: 'unpacking packages', fraction: 0.4 })
    await unpackPackages(packages, { directory: work, signal })

    onProgress({ step: 'collecting files', fraction: 0.7 })
    const release = await kernelRelease(work)
    const entries = [
      ...(await programEntries(work)),
      ...(await kernelModuleEntries({ root: work, release }, signal)),
      ...input.overlay,
    ]
    onProgress({ step: 'compressing the initramfs', fraction: 0.8 })
    const initrd = await compress(writeCpio(sorted(entries)), {
      params: { [constants.ZSTD_c_compressionLevel]: 19 },
    })
    signal.throwIfAborted()

    const kernelPath = join(input.into, 'kernel')
    const initrdPath = join(input.into, 'initrd')
    await copyFile(join(work, 'boot', `vmlinuz-${release}`), kernelPath)
    await writeFile(initrdPath, initrd)
    onProgress({ step: 'done', fraction: 1 })
    return {
      os: 'linux',
      release: 'tiny',
      version: release,
      architecture: 'x86_64',
      boot: 'kernel',
      firmware: ['bios'],
      cmdline,
      files: { kernel: kernelPath, initrd: initrdPath },
    }
  } finally {
    await rm(work, { recursive: true, force: true })
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
