/**
 * Runs the tests: the usual rungs, or those named, as in `node tools/test.ts unit qmp` (the unit tests whose paths contain `qmp`).
 *
 *     npm test                        every usual rung, after installing the Debian packages that they need
 *     npm run test:host -- cgroup     one rung, only the files whose paths contain `cgroup`
 *     npm run test:unit -- -t bounded only tests whose names match
 *     npm run test:lab                the rung that `npm test` leaves out: inside a virtual KVM host
 *
 * A run without a single test has not passed. Not here: which rungs there are (test-rungs.ts), how files run (run-files.ts).
 */
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { LabRefusal } from '../lab/machine/lab.ts'
import { ensureDebianPackages, PackagesMissing } from './debian-packages.ts'
import { provideGuestAgent } from './guest-agent.ts'
import { filesToRepeat, noTotals, runFiles, sumOfTotals, type Totals, withRepeated } from './run-files.ts'
import {
  findTestFiles,
  inTurn,
  type RungName,
  rungNames,
  rungs,
  sideBySide,
  usualRungs,
} from './test-rungs.ts'

const root = join(import.meta.dirname, '..')
const shownSlowFiles = 8

interface RungResult extends Totals {
  readonly rung: RungName
  readonly files: number
  readonly seconds: number
  /** The files of which a test failed and passed when they ran once more. */
  readonly unstable: readonly string[]
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
  const totals = await runTwice(files, name, selection)
  const seconds = (performance.now() - startedAt) / 1000
  if (totals.tests === 0) console.log(`The rung ${name} ran no test, so it has not passed.`)
  return { ...totals, rung: name, files: files.length, seconds, success: totals.success && totals.tests > 0 }
}

/** Runs files, and those that failed once more where the rung allows it. */
async function runTwice(
  files: readonly string[],
  name: RungName,
  selection: Selection,
): Promise<Totals & Pick<RungResult, 'unstable'>> {
  const options = { rung: name, namePatterns: selection.namePatterns }
  let first = noTotals
  const ordered = name === 'lab' ? inTurn(files, process.env['KVASIR_TURN']) : files
  for (const [part, concurrency] of sideBySide(ordered, rungs[name]))
    first = sumOfTotals(first, await runFiles(part, { ...options, concurrency }))
  const again = filesToRepeat(first.failedFiles, rungs[name])
  if (again.length === 0) return { ...first, unstable: [] }
  console.log(`\nThese failed, and run once more, alone: ${again.join(', ')}`)
  delete process.env['KVASIR_LAB_UNTIL'] // A file that failed is never taken for one that had no time.
  const second = await runFiles(again, { ...options, concurrency: 1 })
  const unstable = again.filter((file) => !second.failedFiles.has(file))
  return { ...withRepeated(first, second), unstable }
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
    for (const file of result.unstable)
      console.log(`      UNSTABLE: ${file} failed and then passed; what it said the first time stands above`)
  }
  for (const failure of results.flatMap(({ failures }) => failures)) console.log(`\nFailed: ${failure}`)
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
