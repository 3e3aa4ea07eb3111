/**
 * Runs the tests: the usual rungs, or those named, as in `node tools/test.ts unit qmp` (the unit tests whose paths contain `qmp`).
 *
 *     npm test                        every usual rung, after installing the Debian packages that they need
 *     npm run test:host -- cgroup     one rung, only the files whose paths contain `cgroup`
 *     npm run test:unit -- -t bounded only tests whose names match
 *     npm run test:lab                the rung that `npm test` leaves out: inside a virtual KVM host
 *
 * A run without a single test has not passed. Not here: which rungs there are (test-rungs.ts).
 */
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { parseArgs } from 'node:util'
import { LabRefusal } from '../lab/machine/lab.ts'
import { ensureDebianPackages, PackagesMissing } from './debian-packages.ts'
import { provideGuestAgent } from './guest-agent.ts'
import { openLabRoom } from './lab-room.ts'
import { openTestRoom } from './test-room.ts'
import { findTestFiles, type RungName, rungNames, rungs, usualRungs } from './test-rungs.ts'
import { tellWholeError } from './whole-error.ts'

const root = join(import.meta.dirname, '..')
const shownSlowFiles = 8

interface Counts {
  readonly tests: number
  readonly passed: number
  readonly failed: number
  readonly cancelled: number
  readonly skipped: number
  readonly todo: number
}

/** What running files came to. */
interface Totals extends Counts {
  readonly success: boolean
  /** Each file with the time of its tests. */
  readonly times: readonly (readonly [file: string, seconds: number])[]
}

interface RungResult extends Totals {
  readonly rung: RungName
  readonly files: number
  readonly seconds: number
}

interface Selection {
  readonly rungs: readonly RungName[]
  readonly filters: readonly string[]
  readonly namePatterns: readonly string[]
}

function parseSelection(argv: readonly string[]): Selection {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { name: { type: 'string', short: 't', multiple: true } },
  })
  const named = rungNames.find((name) => name === positionals[0])
  return {
    rungs: named === undefined ? usualRungs : [named],
    filters: named === undefined ? positionals : positionals.slice(1),
    namePatterns: values.name ?? [],
  }
}

async function runRung(name: RungName, selection: Selection): Promise<RungResult | undefined> {
  const files = findTestFiles(name, { root, filters: selection.filters })
  const isFiltered = selection.filters.length > 0
  if (files.length === 0 && isFiltered && selection.rungs.length > 1) return undefined

  const rung = rungs[name]
  console.log(`\n== ${name}: ${files.length} files ==`)
  process.env['KVASIR_TEST_FILE_SECONDS'] = String(rung.fileSeconds) // The test processes inherit it.
  const startedAt = performance.now()
  const none: Counts = { tests: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 }
  const totals =
    files.length === 0 ? { ...none, success: true, times: [] } : await runFiles(files, { name, selection })
  const seconds = (performance.now() - startedAt) / 1000
  if (totals.tests === 0) console.log(`The rung ${name} ran no test, so it has not passed.`)
  return { ...totals, rung: name, files: files.length, seconds, success: totals.success && totals.tests > 0 }
}

async function runFiles(
  files: readonly string[],
  { name, selection }: { name: RungName; selection: Selection },
): Promise<Totals> {
  const rung = rungs[name]
  const { promise, resolve } = Promise.withResolvers<Totals>()
  const times = new Map<string, number>()
  await using room =
    name === 'lab' ? await openLabRoom((line) => console.log(line)) : openTestRoom(rung.processes)
  const programs = room.programsOf(files.map((file) => join(root, file)))
  const stream = run({
    files: programs,
    concurrency: rung.concurrency,
    timeout: rung.testSeconds * 1000,
    execArgv: [
      '--disable-warning=ExperimentalWarning',
      '--max-semi-space-size=32', // In MiB: tests make much that lives briefly, so this is a tenth of their time.
      '--import',
      join(import.meta.dirname, 'test-watchdog.ts'),
      '--import',
      join(import.meta.dirname, 'test-errors.ts'),
    ],
    ...(selection.namePatterns.length > 0 ? { testNamePatterns: [...selection.namePatterns] } : {}),
  })
  const note = ({
    file,
    nesting,
    details,
  }: {
    file?: string
    nesting: number
    details: { duration_ms: number }
  }) => {
    if (file === undefined || nesting > 0) return
    times.set(file, (times.get(file) ?? 0) + details.duration_ms / 1000)
  }
  stream.on('test:pass', note)
  let empty = 0 // A program without a test is told as a test that passed.
  stream.on('test:pass', ({ name: told, nesting }) => {
    if (nesting === 0 && programs.includes(told)) empty++
  })
  stream.on('test:fail', note)
  stream.on('test:fail', ({ details }) => tellWholeError(details.error)) // Those of hooks and of what is outside tests.
  stream.on('test:summary', (summary) => {
    if (summary.file !== undefined) return
    const { cancelled, skipped, todo } = summary.counts
    const [tests, passed] = [summary.counts.tests - empty, summary.counts.passed - empty]
    const failed = tests - passed - cancelled - skipped - todo
    resolve({ tests, passed, failed, cancelled, skipped, todo, success: summary.success, times: [...times] })
  })
  const printed = stream.compose(spec)
  printed.pipe(process.stdout, { end: false })
  const ended = Promise.withResolvers<void>()
  printed.on('end', ended.resolve)
  const [totals] = await Promise.all([promise, ended.promise])
  return totals
}

/** Prints a line per rung and then the sums, in the form of node's own summary. */
function report(results: readonly RungResult[]): void {
  console.log('')
  for (const result of results) {
    const { rung, files, seconds, passed, skipped, success } = result
    const budget = rungs[rung].budgetSeconds
    const isOver = budget !== undefined && seconds > budget
    const over = isOver ? `   OVER ITS BUDGET OF ${budget} s; the slowest:` : ''
    const verdict = success ? 'passed' : 'FAILED'
    console.log(
      `${rung.padEnd(5)} ${verdict}  ${seconds.toFixed(1).padStart(7)} s  ${files} files, ${passed} passed, ${skipped} skipped${over}`,
    )
    const slowest = result.times.toSorted(([, a], [, b]) => b - a).slice(0, shownSlowFiles)
    for (const [file, each] of isOver ? slowest : [])
      console.log(`      ${each.toFixed(1)} s  ${relative(root, file)}`)
  }
  const sum = (pick: (result: RungResult) => number) =>
    results.reduce((total, result) => total + pick(result), 0)
  const failed = sum((result) => result.failed + result.cancelled)
  const broken = failed === 0 ? results.filter((result) => !result.success).length : failed
  console.log('')
  console.log(`ℹ tests ${sum((result) => result.tests)}`)
  console.log(`ℹ pass ${sum((result) => result.passed)}`)
  console.log(`ℹ fail ${broken}`)
  console.log(`ℹ skipped ${sum((result) => result.skipped)}`)
  console.log(`ℹ todo ${sum((result) => result.todo)}`)
  console.log(`ℹ duration_ms ${Math.round(sum((result) => result.seconds) * 1000)}`)
  console.log(`${sum((result) => result.passed)} passed, ${broken} failed`)
}

async function main(): Promise<void> {
  const selection = parseSelection(process.argv.slice(2))
  const needs = [...new Set(selection.rungs.flatMap((name) => rungs[name].needs))]
  await ensureDebianPackages(needs, (line) => console.log(line))
  if (selection.rungs.includes('qemu')) {
    const agent = await provideGuestAgent((line) => console.log(line))
    if (agent !== undefined) process.env['KVASIR_QEMU_GA'] = agent // The test processes inherit it.
  }

  const results: RungResult[] = []
  for (const name of selection.rungs) {
    const result = await runRung(name, selection)
    if (result !== undefined) results.push(result)
  }
  if (results.length === 0) console.log(`No test file has ${selection.filters.join(' or ')} in its path.`)
  report(results)
  process.exitCode = results.length > 0 && results.every((result) => result.success) ? 0 : 1
}

try {
  await main()
} catch (error) {
  if (!(error instanceof PackagesMissing || error instanceof LabRefusal)) throw error
  console.error(error.message)
  process.exitCode = 1
}
