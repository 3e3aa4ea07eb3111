/** `npm run check`: types, format, lint, the rules of this repository, dead code and stale generated files. Changes nothing. */
import { runSteps } from './steps.ts'

await runSteps([
  { name: 'types', argv: ['tsc', '-p', '.'] },
  { name: 'format', argv: ['biome', 'check', '--error-on-warnings'] },
  { name: 'lint', argv: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'rules', argv: [process.execPath, 'tools/rules.ts'] },
  { name: 'dead code', argv: ['knip'] },
  { name: 'generated', argv: [process.execPath, 'tools/generate.ts', '--check'] },
])
