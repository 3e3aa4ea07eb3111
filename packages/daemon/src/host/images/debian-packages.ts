/**
 * Takes Debian packages from the archive that the host's apt is set up for, without installing them: which version is the
 * candidate, the files of it, and their contents in a directory.
 *
 * What is unpacked was verified by apt against the archive's signed index. Nothing on the host changes but apt's package lists,
 * which are renewed once when they do not know a package or name a file that the archive no longer has.
 *
 * Not here: reading what apt prints (model/images/debian-index.ts), a whole root file system (build-debian.ts).
 */

import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import {
  type PackageFile,
  type PackageStanza,
  parsePackageStanzas,
  parsePrintUris,
} from '../../model/images/debian-index.ts'
import { runStep } from './run-step.ts'
import { openScratch, type WorkDir } from './work-dir.ts'

const lookUpTimeoutMs = 60_000
const updateTimeoutMs = 300_000
const downloadTimeoutMs = 900_000
const unpackTimeoutMs = 120_000
const maximumDependencyLevels = 12

/** Where package files are kept and how a caller stops the work. */
export interface PackageSource {
  /** Downloaded package files stay in its `packages`. */
  readonly work: WorkDir
  readonly signal: AbortSignal
}

/** Renews apt's package lists. */
export async function updatePackageLists(source: PackageSource): Promise<void> {
  await runStep(['apt-get', '-q', 'update'], {
    cwd: source.work.packages,
    signal: source.signal,
    timeoutMs: updateTimeoutMs,
  })
}

/** Looks up the candidates of packages; a package that apt does not know is left out. */
export async function showPackages(
  names: readonly string[],
  source: PackageSource,
): Promise<readonly PackageStanza[]> {
  if (names.length === 0) return []
  try {
    const text = await runStep(
      ['apt-cache', ...indexOptions(source), 'show', '--no-all-versions', '--', ...names],
      {
        cwd: source.work.packages,
        signal: source.signal,
        timeoutMs: lookUpTimeoutMs,
      },
    )
    return parsePackageStanzas(text)
  } catch (cause) {
    source.signal.throwIfAborted()
    if (names.length > 1) return (await Promise.all(names.map((name) => showPackages([name], source)))).flat()
    void cause // Exit code 100: apt knows no such package.
    return []
  }
}

/** A parsed index of our own: images of Debian for containers switch apt's off, and parsing takes half a second each time. */
function indexOptions(source: PackageSource): readonly string[] {
  return ['pkgcache', 'srcpkgcache'].flatMap((kind) => [
    '-o',
    `Dir::Cache::${kind}=${join(source.work.packages, `${kind}.bin`)}`,
  ])
}

/** Names a package's library packages: its dependencies called `lib*`, theirs, and so on, itself first. */
export async function withLibraries(name: string, source: PackageSource): Promise<readonly string[]> {
  const names = new Set([name])
  let level: readonly string[] = [name]
  for (let depth = 0; depth < maximumDependencyLevels && level.length > 0; depth++) {
    const stanzas = await showPackages(level, source)
    const next = stanzas.flatMap((stanza) => stanza.depends)
    level = [...new Set(next)].filter(
      (dependency) => /^lib(?!.*-perl$)/.test(dependency) && !names.has(dependency),
    )
    for (const dependency of level) names.add(dependency)
  }
  return [...names]
}

/** Asks the archive's index for the files of packages; refuses when it knows one of them no file with a SHA-256. */
export async function resolvePackageFiles(
  names: readonly string[],
  source: PackageSource,
): Promise<readonly PackageFile[]> {
  // In an empty directory, since apt leaves out files that are already where it would put them.
  await using empty = await openScratch(source.work, 'resolve')
  try {
    const text = await runStep(
      ['apt-get', ...indexOptions(source), 'download', '--print-uris', '--', ...names],
      {
        cwd: empty.path,
        signal: source.signal,
        timeoutMs: lookUpTimeoutMs,
      },
    )
    const files = parsePrintUris(text)
    const missing = names.filter((name) => !files.some((file) => file.name === name))
    if (missing.length > 0) throw new Error(`no verifiable file of ${missing.join(', ')}`)
    return files
  } catch (cause) {
    source.signal.throwIfAborted()
    throw new KvasirError(
      'host-failed',
      `apt offers no verifiable file of ${names.join(', ')}, so no image can be built from them.`,
      { cause },
    )
  }
}

/** Downloads the package files that are not in the cache and gives the path of each. */
export async function fetchPackages(
  files: readonly PackageFile[],
  source: PackageSource,
): Promise<readonly string[]> {
  const missing = files.filter((file) => !existsSync(cached(file, source)))
  if (missing.length > 0) await download(missing, source)
  return files.map((file) => cached(file, source))
}

async function download(files: readonly PackageFile[], source: PackageSource): Promise<void> {
  await using incoming = await openScratch(source.work, 'incoming')
  try {
    const argv = ['apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', '--']
    await runStep([...argv, ...files.map((file) => `${file.name}=${file.version}`)], {
      cwd: incoming.path,
      signal: source.signal,
      timeoutMs: downloadTimeoutMs,
    })
    for (const file of files) await rename(join(incoming.path, file.fileName), cached(file, source))
  } catch (cause) {
    source.signal.throwIfAborted()
    throw new KvasirError(
      'download-failed',
      `The packages ${files.map((file) => file.name).join(', ')} did not come from the archive, so no image can be built from them.`,
      { cause },
    )
  }
}

function cached(file: PackageFile, source: PackageSource): string {
  return join(source.work.packages, `${file.sha256.slice(0, 16)}-${file.fileName.replaceAll('%', '.')}`)
}

/** Unpacks package files over each other into a directory, in their order. */
export async function unpackPackages(
  paths: readonly string[],
  into: { readonly directory: string; readonly signal: AbortSignal },
): Promise<void> {
  await mkdir(into.directory, { recursive: true })
  for (const path of paths) {
    await runStep(['dpkg-deb', '--extract', path, into.directory], {
      cwd: into.directory,
      signal: into.signal,
      timeoutMs: unpackTimeoutMs,
    })
  }
}
