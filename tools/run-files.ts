/**
 * Runs test files in their rung's way and adds up what they came to.
 *
 * Where guests run on an emulated processor, one of hundreds stands still or is late for reasons of the emulator. So in those rungs a
 * file that failed runs once more, by itself, and what it comes to then counts; it is named as unstable, for someone to mend. A
 * failure of more than a few files is no chance, and a kill that lost something is what its suite is there to find: those stay failed.
 */
import { basename, join, relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { bundleCli } from './bundle-cli.ts'
import { bundleDaemon } from './bundle-daemon.ts'
import { openLabRoom } from './lab-room.ts'
import { openTestRoom } from './test-room.ts'
import { type Rung, type RungName, rungs } from './test-rungs.ts'
import { tellWholeError } from './whole-error.ts'

const root = join(import.meta.dirname, '..')

/** More failed files than these are not repeated. */
const repeatedAtMost = 3
/** So much of the error of a failed test is told once more at the end. */
const toldCharacters = 2_000
/** Their rounds happen by chance, so passing later proves nothing. */
const neverRepeated = /crash|kill|trouble/

/** What tests came to. */
export interface Counts {
  readonly tests: number
  readonly passed: number
  readonly failed: number
  readonly cancelled: number
  readonly skipped: number
  readonly todo: number
}

/** What running files came to. */
export interface Totals extends Counts {
  readonly success: boolean
  /** Each file with the time of its tests. */
  readonly times: readonly (readonly [file: string, seconds: number])[]
  /** What the files came to of which a test failed, or that failed as a whole. */
  readonly failedFiles: ReadonlyMap<string, Counts>
  /** The failed tests, each with its file, name and error, for whoever reads the end of a long run only. */
  readonly failures: readonly string[]
}

/** The end of a test, as the runner tells it. */
interface TestEnd {
  readonly name: string
  readonly file?: string
  readonly nesting: number
  readonly details: { readonly duration_ms: number }
}

/** The end of a test that failed. */
interface TestFailure extends TestEnd {
  readonly details: { readonly duration_ms: number; readonly error: Error }
}

type TestsStream = ReturnType<typeof run>

const none: Counts = { tests: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 }

/** What no file at all comes to. */
export const noTotals: Totals = { ...none, success: true, times: [], failedFiles: new Map(), failures: [] }

/** The failed files that run once more, or none. */
export function filesToRepeat(
  failed: ReadonlyMap<string, Counts>,
  { repeats }: Pick<Rung, 'repeats'>,
): readonly string[] {
  const files = [...failed.keys()]
  const isChance = files.length <= repeatedAtMost && !files.some((file) => neverRepeated.test(basename(file)))
  return repeats === true && isChance ? files : []
}

/** What files came to when those that failed count as they did the second time. */
export function withRepeated(first: Totals, second: Totals): Totals {
  const lost = [...first.failedFiles.values()].reduce((sum, counts) => sumOf(sum, counts, 1), none)
  return {
    ...sumOf(sumOf(first, lost, -1), second, 1),
    success: second.success,
    times: [...first.times, ...second.times],
    failedFiles: second.failedFiles,
    failures: [...first.failures, ...second.failures],
  }
}

/** What two runs of different files came to together. */
export function sumOfTotals(one: Totals, other: Totals): Totals {
  return {
    ...sumOf(one, other, 1),
    success: one.success && other.success,
    times: [...one.times, ...other.times],
    failedFiles: new Map([...one.failedFiles, ...other.failedFiles]),
    failures: [...one.failures, ...other.failures],
  }
}

function sumOf(one: Counts, other: Counts, sign: 1 | -1): Counts {
  return {
    tests: one.tests + sign * other.tests,
    passed: one.passed + sign * other.passed,
    failed: one.failed + sign * other.failed,
    cancelled: one.cancelled + sign * other.cancelled,
    skipped: one.skipped + sign * other.skipped,
    todo: one.todo + sign * other.todo,
  }
}

/** Runs files of a rung, and prints what they say. */
export async function runFiles(
  files: readonly string[],
  {
    rung: name,
    namePatterns,
    concurrency,
  }: {
    readonly rung: RungName
    readonly namePatterns: readonly string[]
    /** How many files run side by side. */
    readonly concurrency: number
  },
): Promise<Totals> {
  const rung = rungs[name]
  // They are run as they are installed, and load in a fraction of the time, which in the lab is seconds of each call.
  if (name === 'e2e' || name === 'lab') {
    const [daemon] = await Promise.all([bundleDaemon(), bundleCli()])
    process.env['KVASIR_E2E_DAEMON'] = daemon.main // One for all tests, whatever is written meanwhile; their processes inherit it.
  }
  await using room =
    name === 'lab'
      ? await openLabRoom({ say: (line) => console.log(line), labs: concurrency })
      : openTestRoom(rung.processes)
  const programs = await room.programsOf(files.map((file) => join(root, file)))
  const stream = run({
    files: programs,
    concurrency: Math.min(concurrency, room.mostAtOnce ?? concurrency),
    timeout: rung.testSeconds * 1000,
    execArgv: [
      '--disable-warning=ExperimentalWarning',
      '--max-semi-space-size=32', // In MiB: tests make much that lives briefly, so this is a tenth of their time.
      '--import',
      join(import.meta.dirname, 'test-watchdog.ts'),
      '--import',
      join(import.meta.dirname, 'test-errors.ts'),
    ],
    ...(namePatterns.length > 0 ? { testNamePatterns: [...namePatterns] } : {}),
  })
  stream.on('test:fail', ({ details }) => tellWholeError(details.error)) // Those of hooks and of what is outside tests.
  const counted = countResults(stream, { files, programs })
  const printed = stream.compose(spec)
  printed.pipe(process.stdout, { end: false })
  const ended = Promise.withResolvers<void>()
  printed.on('end', ended.resolve)
  const [totals] = await Promise.all([counted, ended.promise])
  return totals
}

/** Adds up what a run tells; the programs stand for the files one by one, or for several of them. */
function countResults(
  stream: TestsStream,
  { files, programs }: { readonly files: readonly string[]; readonly programs: readonly string[] },
): Promise<Totals> {
  const times = new Map<string, number>()
  const failed = new Map<string, Counts>()
  const failures: string[] = []
  let empty = 0 // A program without a test is told as a test that passed.
  const fileOf = (path: string) => files[programs.indexOf(path)] ?? relative(root, path)
  const addFailed = (path: string, counts: Counts) => {
    const file = fileOf(path)
    failed.set(file, sumOf(failed.get(file) ?? none, counts, 1))
  }
  const noteTime = ({ file, nesting, details }: TestEnd) => {
    if (file !== undefined && nesting === 0)
      times.set(file, (times.get(file) ?? 0) + details.duration_ms / 1000)
  }
  const isProgram = ({ name, nesting }: TestEnd) => nesting === 0 && programs.includes(name)
  stream.on('test:pass', (end) => {
    noteTime(end)
    if (isProgram(end)) empty++
  })
  stream.on('test:fail', (end) => {
    noteTime(end)
    // A program that does not load, or ends badly, is told as one test with its name.
    if (isProgram(end)) addFailed(end.name, { ...none, tests: 1, failed: 1 })
    failures.push(told(end, fileOf(end.file ?? end.name)))
  })
  const { promise, resolve } = Promise.withResolvers<Totals>()
  stream.on('test:summary', ({ file, counts, success }) => {
    const { tests, passed, cancelled, skipped, todo } = counts
    const all = {
      tests,
      passed,
      failed: tests - passed - cancelled - skipped - todo,
      cancelled,
      skipped,
      todo,
    }
    if (file !== undefined) {
      if (!success) addFailed(file, all)
      return
    }
    const real = { ...all, tests: tests - empty, passed: passed - empty }
    resolve({ ...real, success, times: [...times], failedFiles: failed, failures })
  })
  return promise
}

/** A failed test in words, of which a long error is cut. */
function told({ name, details: { error } }: TestFailure, file: string): string {
  const cause = error.cause instanceof Error ? error.cause : error
  return `${name}\n  in ${file}\n${(cause.stack ?? cause.message).slice(0, toldCharacters)}`
}
