/**
 * The rungs of the tests: which files each has, how long a test and a file may take, how many files run at once.
 *
 * A file belongs to exactly one rung, told by the end of its name.
 */
import { createHash } from 'node:crypto'
import { globSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { basename } from 'node:path'
import type { Purpose } from './debian-packages.ts'

/** The rungs that every machine runs, in their order. */
export const usualRungs = ['unit', 'api', 'qemu', 'host', 'e2e'] as const
/** All rungs; the lab runs where it is asked for. */
export const rungNames = [...usualRungs, 'lab'] as const
export type RungName = (typeof rungNames)[number]

/** How one rung runs. */
export interface Rung {
  readonly needs: readonly Purpose[]
  readonly testSeconds: number
  readonly fileSeconds: number
  readonly concurrency: number
  /** Files that run one by one after all others: they assert times, count on the host's CPUs, or do many things at once themselves. */
  readonly alone?: RegExp
  /** In how many processes the files are put together; each file has its own when this is absent. */
  readonly processes?: number
  /** What the whole rung should take at most; more is reported, not refused. */
  readonly budgetSeconds?: number
  /** Whether a file that failed runs once more (run-files.ts). */
  readonly repeats?: boolean
}

const cores = availableParallelism()
const labRoomBytes = 10 * 1024 ** 3

export const rungs: Readonly<Record<RungName, Rung>> = {
  unit: {
    needs: [],
    testSeconds: 20,
    fileSeconds: 300, // Of a process, which runs many files.
    concurrency: cores + 1, // They wait for children and timers now and then; each more loads everything once more.
    processes: cores + 1,
    budgetSeconds: 5,
  },
  // A whole daemon on the simulated host, and the CLI as a process.
  api: { needs: [], testSeconds: 60, fileSeconds: 300, concurrency: cores + 1, processes: cores + 1 },
  qemu: { needs: ['run'], testSeconds: 60, fileSeconds: 300, concurrency: cores },
  host: { needs: ['run', 'images', 'test'], testSeconds: 300, fileSeconds: 900, concurrency: 1 },
  // A guest under TCG takes a core while it boots, and hardly any of it afterwards.
  e2e: {
    needs: ['run', 'images', 'test'],
    testSeconds: 600,
    fileSeconds: 1800,
    concurrency: Math.min(cores, Math.max(2, Math.floor(cores / 2))),
    alone: /crash|kill|trouble|debian|disk-throttle|instants|ksm|memory|placement|threads|vcpus|^rbd\./,
    budgetSeconds: 1800,
    repeats: true,
  },
  // Everything is emulated there, which takes some twenty times as long. A lab has 6 GiB and keeps one to two cores busy.
  lab: {
    needs: ['run', 'images'],
    testSeconds: 1500,
    fileSeconds: 1500,
    concurrency: Math.max(1, Math.min(Math.floor(cores / 2), Math.floor(totalmem() / labRoomBytes), 3)),
    alone: /cpu-sharing|limits|^memory\./,
    budgetSeconds: 1500,
    repeats: true,
  },
}

/** The rung that a file belongs to, or nothing when it is not a test. */
export function rungOf(path: string): RungName | undefined {
  if (/^e2e\/suites\/.+\.e2e\.ts$/.test(path)) return 'e2e'
  if (/^lab\/suites\/.+\.lab\.ts$/.test(path)) return 'lab'
  if (!path.endsWith('.test.ts')) return undefined
  if (path.endsWith('.api.test.ts')) return 'api'
  if (path.endsWith('.qemu.test.ts')) return 'qemu'
  return path.endsWith('.host.test.ts') ? 'host' : 'unit'
}

/** The files of a rung below `root` whose paths contain one of `filters`, or all when there are none. */
export function findTestFiles(
  rung: RungName,
  where: { root: string; filters: readonly string[] },
): readonly string[] {
  const patterns = ['packages/**/*.ts', 'tools/**/*.ts', 'e2e/**/*.ts', 'bench/**/*.ts', 'lab/**/*.ts']
  return globSync(patterns, { cwd: where.root, exclude: ['**/node_modules/**'] })
    .filter((path) => rungOf(path) === rung)
    .filter((path) => where.filters.length === 0 || where.filters.some((filter) => path.includes(filter)))
    .toSorted()
}

/** Files in an order of which another word makes another one, for a run that may not come to its end; in theirs without a word. */
export function inTurn(files: readonly string[], word: string | undefined): readonly string[] {
  if (word === undefined || files.length === 0) return files
  const first = createHash('sha256').update(word).digest().readUInt32BE() % files.length
  return [...files.slice(first), ...files.slice(0, first)]
}

/** The files in parts that run one part after the other, each with how many of it run side by side. */
export function sideBySide(
  files: readonly string[],
  { alone, concurrency }: Pick<Rung, 'alone' | 'concurrency'>,
): readonly (readonly [files: readonly string[], concurrency: number])[] {
  if (concurrency === 1) return files.length > 0 ? [[files, 1]] : []
  const isAlone = (path: string) => alone?.test(basename(path)) ?? false
  const parts = [
    [files.filter((path) => !isAlone(path)), concurrency],
    [files.filter(isAlone), 1],
  ] as const
  return parts.filter(([part]) => part.length > 0)
}
