/**
 * `npm run crash -- --rounds N`: kills at random moments, N times in each suite that does so, or in those whose names contain all other
 * arguments. The suites print their counts; CI runs the same ones with few rounds.
 */
import { parseArgs } from 'node:util'
import { ensureDebianPackages } from './debian-packages.ts'
import { runSteps } from './steps.ts'

const suites = ['random-kills', 'snapshot-kills', 'iscsi-kills', 'nfs-kills', 'rbd-kills']
const mostRounds = 100_000

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '100' } },
  allowPositionals: true,
})
const rounds = Number(values.rounds)
const chosen = suites.filter((suite) => positionals.every((word) => suite.includes(word)))

if (!Number.isInteger(rounds) || rounds < 1 || rounds > mostRounds || chosen.length === 0) {
  console.error(`Write npm run crash -- [${suites.join(' | ')}] --rounds N, with N from 1 to ${mostRounds}.`)
  process.exitCode = 2
} else {
  await ensureDebianPackages(['run', 'images', 'test'], (line) => console.log(line))
  process.env['KVASIR_CRASH_ROUNDS'] = String(rounds)
  await runSteps(
    chosen.map((suite) => ({
      name: suite,
      argv: [
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        '--test',
        `e2e/suites/${suite}.e2e.ts`,
      ] as const,
    })),
  )
}
