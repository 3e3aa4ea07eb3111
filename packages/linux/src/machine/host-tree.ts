/**
 * The files in which a kernel describes its machine: those of this one, or a tree that was captured on another.
 *
 * Invariant: nothing outside the root is read, nothing but regular files, and of each only a bounded part; what is missing, too
 * big, unreadable or not text is absent, never an error. So a captured tree may come from anybody.
 *
 * Reading is synchronous: these files are the kernel's memory, and one costs less than a turn through the thread pool.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
} from 'node:fs'
import { basename, dirname, join, sep } from 'node:path'

const defaultMaxBytes = 1024 * 1024
const chunkBytes = 64 * 1024
/** The most names that are taken from a directory. */
const maxNames = 65_536

/** What was read, told to whoever records it. */
export type Reading =
  | { readonly kind: 'file'; readonly path: string; readonly text: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'directory'; readonly path: string; readonly names: readonly string[] }

/** Options of a tree. */
export interface HostTreeOptions {
  /** Told everything that is found, so that it can be captured. */
  readonly record?: (reading: Reading) => void
}

/** The files of a machine. Paths are those of the machine, such as `/proc/cpuinfo`. */
export interface HostTree {
  /** Whether this is the machine that runs us. */
  readonly isLive: boolean
  /** The text of a file, without white space at its ends; undefined when it cannot be had. */
  readText(path: string, maxBytes?: number): string | undefined
  /** Names in a directory that match, in the order of their numbers; none when there is no such directory. */
  list(path: string, pattern: RegExp): readonly string[]
  /** The last word of what a symbolic link names, such as the driver of a device. */
  linkName(path: string): string | undefined
  /** What a symbolic link names, as it stands there. */
  linkTarget(path: string): string | undefined
}

/** A tree of /sys, /proc and what lies beside them, below a root directory. */
export class DirectoryTree implements HostTree {
  readonly root: string
  readonly #record: (reading: Reading) => void
  /** Where directories of a captured tree really are; undefined for those outside of it. */
  readonly #real = new Map<string, string | undefined>()

  /** Throws what `realpath` throws when the root does not exist. */
  constructor(root = '/', options: HostTreeOptions = {}) {
    this.root = realpathSync(root)
    this.#record = options.record ?? (() => {})
  }

  /** Whether this is the machine itself. */
  get isLive(): boolean {
    return this.root === '/'
  }

  readText(path: string, maxBytes = defaultMaxBytes): string | undefined {
    const real = this.#realPath(path)
    const content = real === undefined ? undefined : readBounded(real, maxBytes)
    if (content === undefined || content.includes(0)) return undefined
    const text = content.toString('utf8').trim()
    this.#record({ kind: 'file', path, text })
    return text
  }

  list(path: string, pattern: RegExp): readonly string[] {
    const real = this.#realDirectory(path)
    if (real === undefined) return []
    try {
      const names = readdirSync(real)
        .filter((name) => pattern.test(name))
        .slice(0, maxNames)
      names.sort(compareNumbered)
      this.#record({ kind: 'directory', path, names })
      return names
    } catch {
      return []
    }
  }

  linkName(path: string): string | undefined {
    const target = this.linkTarget(path)
    return target === undefined ? undefined : basename(target)
  }

  linkTarget(path: string): string | undefined {
    const real = this.#realPath(path)
    if (real === undefined) return undefined
    try {
      const target = readlinkSync(real)
      this.#record({ kind: 'link', path, target })
      return target
    } catch {
      return undefined
    }
  }

  #realPath(path: string): string | undefined {
    const directory = this.#realDirectory(dirname(path))
    return directory === undefined ? undefined : join(directory, basename(path))
  }

  #realDirectory(path: string): string | undefined {
    if (this.isLive) return path
    if (this.#real.has(path)) return this.#real.get(path)
    const real = this.#resolve(path)
    this.#real.set(path, real)
    return real
  }

  #resolve(path: string): string | undefined {
    try {
      const real = realpathSync(join(this.root, path))
      return real === this.root || real.startsWith(this.root + sep) ? real : undefined
    } catch {
      return undefined
    }
  }
}

/** The number in a file that holds one whole decimal number and nothing else. */
export function readNumber(tree: HostTree, path: string): number | undefined {
  return parseInteger(tree.readText(path))
}

/** The whole number that a text is. */
export function parseInteger(text: string | undefined): number | undefined {
  if (text === undefined || !/^-?\d{1,15}$/.test(text)) return undefined
  return Number(text)
}

function readBounded(path: string, maxBytes: number): Buffer | undefined {
  let descriptor: number | undefined
  try {
    // A pipe in a captured tree must not hold us up, and a link must not lead out of it.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
    return fstatSync(descriptor).isFile() ? readAll(descriptor, maxBytes) : undefined
  } catch {
    return undefined
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

/** The size of a file in /sys or /proc says nothing, so it is read to its end. */
function readAll(descriptor: number, maxBytes: number): Buffer | undefined {
  const chunks: Buffer[] = []
  let total = 0
  while (total <= maxBytes) {
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, total === 0 ? 4096 : chunkBytes))
    const count = readSync(descriptor, chunk)
    if (count === 0) return Buffer.concat(chunks)
    chunks.push(chunk.subarray(0, count))
    total += count
  }
  return undefined
}

/** Orders names by the number that they end with: `cpu2` comes before `cpu10`. */
export function compareNumbered(a: string, b: string): number {
  const [x, y] = [Number(/\d+$/.exec(a)?.[0] ?? 0), Number(/\d+$/.exec(b)?.[0] ?? 0)]
  return x - y || (a < b ? -1 : 1)
}
