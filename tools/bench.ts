/**
 * `npm run bench`: runs the benchmarks, or those whose names contain an argument. Each prints its table and writes its JSON to
 * bench/results; one at a time, since they measure.
 */
import { globSync } from 'node:fs'
import { bundleCli } from './bundle-cli.ts'
import { bundleDaemon } from './bundle-daemon.ts'
import { ensureDebianPackages } from './debian-packages.ts'
import { root, runSteps } from './steps.ts'

const filters = process.argv.slice(2)
const programs = globSync('bench/*.bench.ts', { cwd: root })
  .filter((program) => filters.length === 0 || filters.some((filter) => program.includes(filter)))
  .toSorted()

if (programs.length === 0) {
  console.error(`No benchmark in bench/ has ${filters.join(' or ') || '.bench.ts'} in its name.`)
  process.exitCode = 1
} else {
  await ensureDebianPackages(['run', 'images'], (line) => console.log(line))
  await Promise.all([bundleDaemon(), bundleCli()]) // They are measured as they are installed.
  await runSteps(
    programs.map((program) => ({
      name: program.slice('bench/'.length, -'.bench.ts'.length),
      argv: [process.execPath, '--disable-warning=ExperimentalWarning', program] as const,
    })),
  )
}
