/**
 * `npm run generate`: writes every generated file anew; with `--check`, says which are stale and writes nothing.
 *
 * Each generator is a program of its own that knows `--check`.
 */
import { runSteps } from './steps.ts'

const generators = [
  { name: 'QMP types', program: 'tools/generate-qmp.ts' },
  { name: 'OpenAPI', program: 'tools/generate-openapi.ts' },
]

await runSteps(
  generators.map(({ name, program }) => ({
    name,
    argv: [process.execPath, program, ...process.argv.slice(2)] as const,
  })),
)
